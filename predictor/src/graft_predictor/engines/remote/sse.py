"""Server-sent events, read from bytes as they come: a network cuts anywhere, in lines and in characters."""

from typing import Final

__all__ = ["MAX_EVENT_BYTES", "EventParser"]

MAX_EVENT_BYTES: Final = 1024 * 1024
"""An event is a token or a few; one this large is a server gone wrong."""


class EventParser:
    """Bytes in, the data of whole events out. What has no blank line behind it at the end was cut off, and is no event."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Add bytes.

        Args:
            data: Any piece of the stream.

        Returns:
            The data of the events that are whole now; comments and other fields are passed over.

        Raises:
            ValueError: An event has too many bytes.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = [event for line in lines if (event := self._take(line.removesuffix(b"\r"))) is not None]
        if len(self._rest) + self._size > self._max:
            raise ValueError(f"an event has over {self._max} bytes")
        return events

    def _take(self, line: bytes) -> bytes | None:
        """Take a line; return an event's data where the line ended one that has any."""
        if not line:
            data, self._data, self._size = self._data, [], 0
            return b"\n".join(data) or None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
        return None
