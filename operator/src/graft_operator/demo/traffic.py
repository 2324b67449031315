"""The built-in traffic: people who ask the service, look at the answer, and now and then say whether it was right.

Requests come at an even pace (an open loop), whatever the service does, as real ones would.
"""

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from graft_core.clock import Clock
from graft_operator.demo.board import Board
from graft_operator.local.fields import Json, as_object, children, text

__all__ = ["Question", "Traffic"]

BLOCKED = "422"
"""Status of an answer that a guardrail kept back."""
REQUEST_TIMEOUT_S = 120.0
"""As long as the service itself takes at most: on a busy machine the slow adapter's answers queue, and none is lost by that."""
MAX_IN_FLIGHT = 16
"""People give up before more than this many wait at a time."""


@dataclass(frozen=True)
class Question:
    """One thing to ask, and how to tell a right answer."""

    text: str
    expected: str
    is_right: Callable[[str, str], bool]


@dataclass
class Figures:
    """What came of the requests to one revision."""

    answered: int = 0
    right: int = 0
    seconds: list[float] = field(default_factory=list[float])


class Traffic:
    """Asks one release in the background until it is stopped."""

    def __init__(
        self,
        board: Board,
        clock: Clock,
        *,
        release: str,
        base_url: str,
        questions: Sequence[Question],
        per_second: float,
    ) -> None:
        self._board, self._clock, self._release = board, clock, release
        self._base_url, self._questions, self._per_second = base_url, questions, per_second
        self._random = random.Random(7)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._sent = 0
        self._outcomes: Counter[str] = Counter()
        self._by_revision: dict[str, Figures] = {}

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> Json:
        """Stop asking, wait for the answers under way, and return the figures."""
        self._stop.set()
        self._thread.join(REQUEST_TIMEOUT_S + 5)
        return self.figures()

    def figures(self) -> Json:
        """Return what came of it so far: counts, and by revision the share of right answers and the median latency."""
        return {
            "sent": self._sent,
            "outcomes": dict(self._outcomes),
            # An answer that the output guard keeps back is an answer of the service: of an adapter that is wrong, the very one it must give.
            "failed": sum(count for outcome, count in self._outcomes.items() if outcome not in {"200", BLOCKED}),
            "blocked": self._outcomes[BLOCKED],
            "byRevision": {
                revision: {
                    "answered": f.answered,
                    "rightShare": round(f.right / f.answered, 3) if f.answered else None,
                    "medianMs": round(sorted(f.seconds)[len(f.seconds) // 2] * 1000, 1) if f.seconds else None,
                }
                for revision, f in sorted(self._by_revision.items())
            },
        }

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        running: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while not self._stop.is_set():
                if len(running) < MAX_IN_FLIGHT:
                    task = asyncio.create_task(self._ask(session, self._random.choice(self._questions)))
                    running.add(task)
                    task.add_done_callback(running.discard)
                await asyncio.sleep(1 / self._per_second)
            if running:
                await asyncio.wait(running)
        self._board.set_traffic(self._release, self.figures())

    async def _ask(self, session: aiohttp.ClientSession, question: Question) -> None:
        self._sent += 1
        # A user id keeps a person on his arm where the release is sticky.
        headers = {"x-user-id": f"user-{self._random.randrange(200)}"}
        body = {"model": self._release, "temperature": 0, "messages": [{"role": "user", "content": question.text}]}
        started = self._clock.monotonic()
        try:
            async with session.post(f"{self._base_url}/chat/completions", json=body, headers=headers) as response:
                answer = as_object(await response.json())
                self._outcomes[str(response.status)] += 1
                if response.status != 200:
                    return
                revision = response.headers.get("x-graft-revision", "?")
                said = text(children(answer, "choices")[0], "message", "content")
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError) as error:
            self._outcomes[type(error).__name__] += 1
            return
        figures = self._by_revision.setdefault(revision, Figures())
        right = question.is_right(said, question.expected)
        figures.answered += 1
        figures.right += right
        figures.seconds.append(self._clock.monotonic() - started)
        self._board.set_traffic(self._release, self.figures())
        feedback = {"request_id": response.headers.get("x-graft-request-id", ""), "score": 1.0 if right else 0.0}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.post(f"{self._base_url}/feedback", json=feedback, headers=headers):
                pass
