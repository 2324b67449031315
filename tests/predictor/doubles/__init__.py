"""Named doubles: an engine that answers by a script, a store in memory, a clock that is set."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime, timedelta

from graft_core.errors import Conflict, Unavailable
from graft_core.tasks.messages import Message
from graft_predictor.engines.base import Chunk, EngineFailed, EngineTraits, GenerateRequest, Usage

__all__ = ["LogStoreDouble", "ScriptedEngine", "SetClock"]


class ScriptedEngine:
    """An Engine without a model: the answer is a function of the last message, one chunk a word."""

    def __init__(
        self,
        answer: Callable[[str], str] = lambda text: f"echo {text}",
        *,
        context_length: int = 128,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        self.answer = answer
        self.scores = scores
        self.requests: list[GenerateRequest] = []
        self.is_asked = asyncio.Event()
        """Set by the first request."""
        self.hold: asyncio.Event | None = None
        """Set it to an Event to stop every answer after its first chunk until it is set."""
        self.fail_times = 0
        self.fail_after_chunks = 0
        self.closed = 0
        """Answers that were given up."""
        self._context_length = context_length
        self.is_stopped = False

    @property
    def traits(self) -> EngineTraits:
        return EngineTraits(name="scripted", streams=True, structured="none", adapters="static")

    @property
    def context_length(self) -> int:
        return self._context_length

    @property
    def chat_template(self) -> str | None:
        return None

    def load(self) -> None:
        return

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        return sum(len(message.content.split()) for message in messages)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        self.requests.append(request)
        self.is_asked.set()
        words = self.answer(request.messages[-1].content).split(" ")
        limit = request.sampling.max_tokens or len(words)
        usage = Usage(self.count_tokens(request.messages), min(limit, len(words)))
        is_failing = self.fail_times > 0
        self.fail_times -= is_failing
        is_whole = False
        try:
            for i, word in enumerate(words[:limit]):
                if is_failing and i == self.fail_after_chunks:
                    raise EngineFailed("the scripted engine was told to fail")
                yield Chunk(word if i == 0 else f" {word}")
                if self.hold is not None:
                    await self.hold.wait()
            yield Chunk("", "stop" if limit >= len(words) else "length", usage, self.scores)
            is_whole = True
        finally:
            self.closed += not is_whole

    def is_healthy(self) -> bool:
        return not self.is_stopped

    def stop(self) -> None:
        self.is_stopped = True


class LogStoreDouble:
    """Object storage in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.is_broken = False

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if self.is_broken:
            raise Unavailable("the store was told to be broken")
        if key in self.files:
            raise Conflict(key)
        self.files[key] = data
        return True


class SetClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.seconds += seconds
