"""What a guard says, and how a refusal travels."""

from dataclasses import dataclass
from typing import Literal

from graft_core.errors import GraftError

__all__ = ["GuardVerdict", "GuardrailBlocked", "Outcome"]

Outcome = Literal["pass", "repaired", "block", "error"]
"""error: the guard itself failed and its rule is onError open."""


@dataclass(frozen=True, slots=True)
class GuardVerdict:
    """What one rule said of one request; goes to header, log and spans, so it never quotes text."""

    rule: str
    outcome: Outcome

    def __str__(self) -> str:
        """As in the header x-graft-guardrails."""
        return f"{self.rule}={self.outcome}"


class GuardrailBlocked(GraftError):
    """A rule refused the request or the answer."""

    reason = "GuardrailBlocked"

    def __init__(self, message: str, *, verdict: GuardVerdict) -> None:
        super().__init__(message)
        self.verdict = verdict
