"""Moments of a release for its row tests: a rollout under way, a young promotion, an idle service."""

from datetime import datetime
from typing import Any

from graft_core.api.v1alpha1.modelrelease import (
    AnalysisStatus,
    ArmStatus,
    CandidateStatus,
    DrainingStatus,
    HistoryEntry,
    ModelReleaseStatus,
    Verdict,
)
from graft_core.clock import to_rfc3339
from graft_operator.reconcile.decision import (
    ModelReleaseDecision,
    SetWeights,
)
from graft_operator.reconcile.modelrelease import decide_modelrelease
from graft_operator.reconcile.observed import ObservedModelRelease
from tests.builders import NOW, after
from tests.operator.reconcile.views import (
    BLUE,
    GREEN,
    a_condition,
    a_view,
    a_window,
    an_arm,
)

__all__ = [
    "ROLLOUT",
    "SLOW",
    "at",
    "candidate",
    "decide",
    "history",
    "in_force",
    "stable",
    "trying",
    "watched",
    "weights",
]

CHECKS = [{"metric": "error_rate", "maxDelta": "0.02"}, {"metric": "latency_p95", "maxRatio": "1.25"}]
ROLLOUT: dict[str, Any] = {
    "steps": [
        {"weight": 5, "minDurationSeconds": 60, "minRequests": 100},
        {"weight": 50, "minDurationSeconds": 60, "minRequests": 100},
    ],
    "analysis": {"checks": CHECKS},
}
DELETED: dict[str, Any] = {"deletion_timestamp": to_rfc3339(NOW)}


def decide(view: ObservedModelRelease, now: datetime = NOW) -> ModelReleaseDecision:
    """Decide, and hold the pass to what every pass must keep."""
    decision = decide_modelrelease(view, now)
    status = decision.status
    assert len(status.model_dump_json(by_alias=True).encode()) <= 32 * 1024
    assert ModelReleaseStatus.model_validate_json(status.model_dump_json(by_alias=True)) == status
    return decision


def at(seconds: float = 0) -> str:
    """Write a time as statuses hold it."""
    return to_rfc3339(after(seconds))


def stable(revision: str = BLUE, **fields: Any) -> ArmStatus:
    """Build the stable arm's status, promoted long ago."""
    values: dict[str, Any] = {"weight": 100, "promoted_at": at(-9000), **fields}
    return ArmStatus(revision=revision, digest="sha256:" + revision[0] * 64, **values)


def candidate(step: int = 0, **fields: Any) -> CandidateStatus:
    """Build a candidate whose window opened a minute before NOW."""
    values: dict[str, Any] = {
        "weight": (5, 50)[step],
        "since": at(-200),
        "ready_at": at(-190),
        "step_since": at(-70),
        "weight_since": at(-60),
        **fields,
    }
    return CandidateStatus(revision=GREEN, digest="sha256:" + "c" * 64, step=step, **values)


def trying(step: int = 0, spec: dict[str, Any] | None = None, **fields: Any) -> ObservedModelRelease:
    """Build a view in the middle of a rollout, with healthy figures."""
    weight = (5, 50)[step]
    status = fields.pop("status", None) or ModelReleaseStatus(
        stable=stable(weight=100 - weight), candidate=fields.pop("candidate", candidate(step))
    )
    values: dict[str, Any] = {
        "arms": (an_arm(BLUE, 100 - weight), an_arm(GREEN, weight)),
        "windows": {BLUE: a_window(BLUE, after(-60), NOW), GREEN: a_window(GREEN, after(-60), NOW)},
        **fields,
    }
    return a_view({"rollout": ROLLOUT, **(spec or {})}, status=status, **values)


def history(*entries: tuple[str, Any]) -> tuple[HistoryEntry, ...]:
    """Build a history of (revision, outcome)."""
    return tuple(
        HistoryEntry(revision=revision, digest="", outcome=outcome, reason="Why", message="told", at=at(-100))
        for revision, outcome in entries
    )


SLOW = {"latency": ((0.1, 10.0), (1.0, 200.0), (float("inf"), 200.0))}


def weights(decision: ModelReleaseDecision) -> dict[str, int] | None:
    """Return the split that is asked for."""
    return next((dict(a.weights) for a in decision.actions if isinstance(a, SetWeights)), None)


def in_force(**fields: Any) -> ModelReleaseStatus:
    return ModelReleaseStatus(stable=stable(), conditions=(a_condition("TrafficSplit", reason="Serving"),), **fields)


def watched(**fields: Any) -> ObservedModelRelease:
    """Build a view soon after GREEN was promoted over BLUE."""
    looks = tuple(
        AnalysisStatus(step=1, metric=metric, stable=value, candidate=value, samples=200, verdict=Verdict.PASS)
        for metric, value in (("error_rate", "0.01"), ("latency_p95", "0.15"))
    )
    status = ModelReleaseStatus(
        stable=stable(GREEN, promoted_at=at(-60)),
        draining=DrainingStatus(revision=BLUE, since=at(-30)),
        analysis=looks,
        history=history((BLUE, "Promoted"), (GREEN, "Promoted")),
        conditions=(a_condition("TrafficSplit"),),
    )
    values: dict[str, Any] = {
        "arms": (an_arm(GREEN, 100), an_arm(BLUE, 0)),
        "windows": {GREEN: a_window(GREEN, after(-60), NOW, **SLOW)},
        **fields,
    }
    return a_view({"rollout": ROLLOUT}, status=status, **values)
