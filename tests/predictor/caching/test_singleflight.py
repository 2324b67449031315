"""Equal requests at one time are answered once."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from graft_predictor.caching.singleflight import Flight, SingleFlight


class Producer:
    """A producer that goes on when it is told to."""

    def __init__(self, pieces: int = 3, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.gate = asyncio.Event()
        self.calls = 0
        self.is_closed_early = False

    async def __call__(self) -> AsyncGenerator[int]:
        self.calls += 1
        try:
            for i in range(self.pieces):
                yield i
                await self.gate.wait()
            if self.error is not None:
                raise self.error
        except (GeneratorExit, asyncio.CancelledError):
            self.is_closed_early = True
            raise


async def read(flight: Flight[int]) -> list[int]:
    return [piece async for piece in flight.read()]


async def test_many_readers_one_producer_and_everybody_gets_everything() -> None:
    flights: SingleFlight[int] = SingleFlight()
    producer = Producer()
    joined = [flights.join("k", producer) for _ in range(32)]
    tasks = [asyncio.create_task(read(flight)) for flight, _ in joined]
    await asyncio.sleep(0)
    producer.gate.set()

    assert await asyncio.gather(*tasks) == [[0, 1, 2]] * 32
    assert producer.calls == 1
    assert [is_own for _, is_own in joined] == [True] + [False] * 31


async def test_a_late_reader_gets_the_pieces_from_the_first() -> None:
    flights: SingleFlight[int] = SingleFlight()
    producer = Producer()
    flight, _ = flights.join("k", producer)
    early = flight.read()
    await anext(early)
    late = asyncio.create_task(read(flights.join("k", producer)[0]))
    producer.gate.set()

    assert await late == [0, 1, 2]
    await early.aclose()


async def test_the_first_reader_may_leave_without_harm_to_the_others() -> None:
    flights: SingleFlight[int] = SingleFlight()
    producer = Producer()
    first = flights.join("k", producer)[0].read()
    second = flights.join("k", producer)[0].read()
    assert (await anext(first), await anext(second)) == (0, 0)
    await first.aclose()
    producer.gate.set()

    assert [piece async for piece in second] == [1, 2]
    assert not producer.is_closed_early


async def test_when_the_last_reader_leaves_the_work_stops() -> None:
    flights: SingleFlight[int] = SingleFlight()
    producer = Producer()
    reader = flights.join("k", producer)[0].read()
    await anext(reader)
    await reader.aclose()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert producer.is_closed_early
    assert flights.join("k", Producer())[1]


async def test_an_error_reaches_every_reader_and_frees_the_key() -> None:
    flights: SingleFlight[int] = SingleFlight()
    producer = Producer(1, ValueError("broken"))
    tasks = [asyncio.create_task(read(flights.join("k", producer)[0])) for _ in range(3)]
    await asyncio.sleep(0)
    producer.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(isinstance(result, ValueError) for result in results)
    assert flights.join("k", Producer())[1]


async def test_without_a_key_nothing_is_shared() -> None:
    flights: SingleFlight[int] = SingleFlight()
    producer = Producer()
    producer.gate.set()

    assert [flights.join(None, producer)[1] for _ in range(2)] == [True, True]


async def test_other_keys_fly_apart() -> None:
    flights: SingleFlight[int] = SingleFlight()
    producer = Producer()
    producer.gate.set()
    flights.join("a", producer)

    with pytest.raises(KeyError):
        _ = flights._flights["b"]
    assert flights.join("b", producer)[1]
