"""One request and its answer: what the log and the metrics want to know, gathered on the way, told once at the end."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from graft_core.contracts.serving_metrics import REQUEST_ID_PREFIX
from graft_core.tasks.messages import Message
from graft_predictor.engines.base import GREEDY, FinishReason, Sampling, Usage
from graft_predictor.guards.base import GuardVerdict
from graft_predictor.pipeline.metrics import CacheOutcome, RequestOutcome

__all__ = ["Call", "Exchange", "Operation", "new_request_id"]

Operation = Literal["chat", "completion", "classify", "predict"]


def new_request_id(revision: str) -> str:
    """Make an id that names the arm; feedback brings it back."""
    return f"{REQUEST_ID_PREFIX}{revision}-{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class Call:
    """What the client asks for, checked for form."""

    messages: tuple[Message, ...]
    sampling: Sampling = GREEDY
    fields: dict[str, object] | None = None
    is_stream: bool = False
    may_cache: bool = True
    """False where the client said no-store."""


@dataclass(slots=True)
class Exchange:
    """What is known of one request so far. Belongs to the request's own task."""

    request_id: str
    operation: Operation
    started: float
    """Monotonic seconds."""
    on_finish: Callable[["Exchange"], None]
    tenant: str | None = None
    is_stream: bool = False
    cache: CacheOutcome = "bypass"
    verdicts: list[GuardVerdict] = field(default_factory=list)
    prompt: Sequence[Message] = ()
    answer: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    first_token_at: float | None = None
    trace_id: str | None = None
    outcome: RequestOutcome | None = None

    @property
    def tenant_hash(self) -> str | None:
        """Enough to tell tenants apart in a log, not to name them."""
        return hashlib.sha256(self.tenant.encode()).hexdigest()[:16] if self.tenant is not None else None

    @property
    def guardrails(self) -> str:
        """The header x-graft-guardrails."""
        return ", ".join(str(verdict) for verdict in self.verdicts) or "none"

    def finish(self, outcome: RequestOutcome) -> None:
        """Tell metrics and log; only the first call counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.on_finish(self)
