"""Equal requests at one time are answered once.

A flight is a task of its own that makes the answer; everybody who wants it, the first included, only reads along. So a client that
leaves takes nothing from the others, and when the last has left the work stops.

    state     when                              next
    flying    the producer yields               readers get the piece, late ones all pieces so far
    flying    the producer ends or raises       landed: readers get the end or the error; the key is free again
    flying    the last reader leaves            cancelled; the key is free again
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing
from typing import Generic, TypeVar

__all__ = ["Flight", "SingleFlight"]

T = TypeVar("T")


class Flight(Generic[T]):
    """One answer in the making."""

    def __init__(self, on_landed: Callable[["Flight[T]"], None]) -> None:
        self._pieces: list[T] = []
        self._error: Exception | None = None
        self._is_over = False
        self._news = asyncio.Event()
        self._readers = 0
        self._on_landed = on_landed
        self._task: asyncio.Task[None] | None = None

    def start(self, producer: AsyncGenerator[T]) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._run(producer))

    async def read(self) -> AsyncGenerator[T]:
        """Yield every piece from the first; raises what the producer raised."""
        self._readers += 1
        at = 0
        try:
            while True:
                while at < len(self._pieces):
                    at += 1
                    yield self._pieces[at - 1]
                if self._is_over:
                    if self._error is not None:
                        raise self._error
                    return
                news = self._news
                await news.wait()
        finally:
            self._readers -= 1
            if self._readers == 0 and not self._is_over and self._task is not None:
                self._land(None)
                self._task.cancel()

    async def _run(self, producer: AsyncGenerator[T]) -> None:
        error: Exception | None = None
        try:
            async with aclosing(producer):
                async for piece in producer:
                    self._pieces.append(piece)
                    self._wake()
        except Exception as err:  # noqa: BLE001  # readers raise it, each in its own request
            error = err
        if not self._is_over:
            self._land(error)

    def _land(self, error: Exception | None) -> None:
        self._is_over = True
        self._error = error
        self._on_landed(self)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class SingleFlight(Generic[T]):
    """The flights of this process by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[T]] = {}

    def join(self, key: Hashable | None, make: Callable[[], AsyncGenerator[T]]) -> tuple[Flight[T], bool]:
        """Join the flight of a key, or start it.

        Args:
            key: None: a flight that nobody else may join.
            make: Makes the producer; called only for a new flight.

        Returns:
            The flight, and whether this call started it.
        """
        if key is not None and key in self._flights:
            return self._flights[key], False
        flight: Flight[T] = Flight(lambda landed: self._forget(key, landed))
        if key is not None:
            self._flights[key] = flight
        flight.start(make())
        return flight, True

    def _forget(self, key: Hashable | None, landed: Flight[T]) -> None:
        if key is not None and self._flights.get(key) is landed:
            del self._flights[key]
