"""The tier inside the process: least recently used first out."""

from collections import OrderedDict

from graft_predictor.caching.base import MAX_ENTRY_CHARS, CachedAnswer

__all__ = ["MemoryTier"]


class MemoryTier:
    """A bounded dict."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[bytes, CachedAnswer] = OrderedDict()

    async def get(self, key: bytes) -> CachedAnswer | None:
        """Return the answer, or None."""
        answer = self._entries.get(key)
        if answer is not None:
            self._entries.move_to_end(key)
        return answer

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Keep an answer."""
        if self._max_entries < 1 or len(answer.text) > MAX_ENTRY_CHARS:
            return
        self._entries[key] = answer
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
