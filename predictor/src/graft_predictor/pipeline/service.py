"""What the process serves at this moment: its phase, its pipeline once there is one, and where every request is told."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

from graft_core.clock import Clock
from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.errors import InvalidInput, NotReady
from graft_predictor.pipeline.exchange import Exchange, Operation, new_request_id
from graft_predictor.pipeline.metrics import ServingMetrics, revision_of
from graft_predictor.pipeline.pipeline import Pipeline
from graft_predictor.pipeline.request_log import RequestLog

__all__ = ["Phase", "Readiness", "Service"]

Phase = Literal["Starting", "Verifying", "Loading", "Warming", "Ready", "Failed", "Draining"]
"""Failed: the reason says why. It stays so until the process is replaced, but for a server beside it that comes back (EngineStopped)."""

MAX_REMEMBERED: Final = 10_000
"""Request ids whose feedback was counted; a second word on one of them is kept, but not counted again."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests are answered, and if not, why."""

    phase: Phase
    reason: str
    message: str

    @property
    def is_ready(self) -> bool:
        """True while requests are answered."""
        return self.phase == "Ready"


class Service:
    """One arm of a release."""

    def __init__(self, config: PredictorConfig, metrics: ServingMetrics, clock: Clock) -> None:
        self.config: Final = config
        self.metrics: Final = metrics
        self.clock: Final = clock
        self.request_log: RequestLog | None = None
        self._pipeline: Pipeline | None = None
        self._readiness = Readiness("Starting", "Starting", "the server has just started")
        self._rated: OrderedDict[str, None] = OrderedDict()
        self._is_draining = False

    @property
    def name(self) -> str:
        """The model's name for clients."""
        return self.config.release.name

    @property
    def readiness(self) -> Readiness:
        """The truth at this moment: a dead engine is not ready, whatever the phase was."""
        pipeline = self._pipeline
        if self._is_draining:
            return Readiness("Draining", "Draining", "the server is shutting down")
        if self._readiness.is_ready and (pipeline is None or not pipeline.engine.is_healthy()):
            return Readiness("Failed", "EngineStopped", "the engine does not answer")
        return self._readiness

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline.

        Raises:
            NotReady: There is none yet, or none any more.
        """
        readiness = self.readiness
        # While draining, requests that still arrive are answered: the listener closes in a moment.
        if self._pipeline is None or not (readiness.is_ready or readiness.phase == "Draining"):
            raise NotReady(f"the model is not ready ({readiness.reason}): {readiness.message}", retry_after_s=2.0)
        return self._pipeline

    def enter(self, phase: Phase, message: str, *, reason: str | None = None) -> None:
        """Go on to a phase."""
        self._readiness = Readiness(phase, reason or phase, message)

    def open(self, pipeline: Pipeline) -> None:
        """Begin to answer."""
        self._pipeline = pipeline
        self.enter("Ready", "requests are answered")

    def drain(self) -> None:
        """Lose readiness; what is open goes on."""
        self._is_draining = True

    def begin(self, operation: Operation) -> Exchange:
        """Begin a request; its finish() is told to metrics and log."""
        return Exchange(
            request_id=new_request_id(self.config.revision),
            operation=operation,
            started=self.clock.monotonic(),
            on_finish=self._tell,
        )

    def part_of(self, whole: Exchange) -> Exchange:
        """Begin another text of the same request; the request itself is told once."""
        return Exchange(
            request_id=whole.request_id,
            operation=whole.operation,
            started=whole.started,
            on_finish=_keep_quiet,
            tenant=whole.tenant,
        )

    def take_feedback(self, request_id: str, score: float | None, correct_output: str | None) -> bool:
        """Record a user's word on an answer.

        Args:
            request_id: As an answer's id or header named it; it carries the arm.
            score: In [0, 1].
            correct_output: What would have been right.

        Returns:
            Whether the score was counted; a second one for the same request is only logged.

        Raises:
            InvalidInput: The id is none of this release's.
        """
        revision = revision_of(request_id)
        if revision is None:
            raise InvalidInput(
                f"request_id: {request_id[:80]!r} is not an id of this service; send the x-graft-request-id of an answer",
                path="request_id",
            )
        is_counted = score is not None and request_id not in self._rated
        if score is not None and is_counted:
            if not self.metrics.observe_feedback(revision, score):
                raise InvalidInput(f"request_id: revision {revision!r} is not known to this release", path="request_id")
            self._rated[request_id] = None
            if len(self._rated) > MAX_REMEMBERED:
                self._rated.popitem(last=False)
        if self.request_log is not None:
            self.request_log.record_feedback(request_id, score, correct_output)
        return is_counted

    def close(self) -> None:
        """Stop the engine and write what is queued; blocks."""
        if self._pipeline is not None:
            self._pipeline.engine.stop()
        if self.request_log is not None:
            self.request_log.close()

    def _tell(self, exchange: Exchange) -> None:
        now = self.clock.monotonic()
        outcome = exchange.outcome or "error"
        self.metrics.count_request(outcome)
        if outcome == "ok":
            self.metrics.observe_duration(now - exchange.started, exchange.cache)
        if exchange.is_stream and exchange.first_token_at is not None:
            self.metrics.observe_first_token(exchange.first_token_at - exchange.started)
        if self.request_log is not None:
            self.request_log.record_exchange(exchange, now=now)


def _keep_quiet(_exchange: Exchange) -> None:
    """One request is counted once, however many texts it has."""
