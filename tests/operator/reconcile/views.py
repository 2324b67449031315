"""Views of the world for the row tests: a quiet one, of which a test changes what it is about."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from graft_core.api.conditions import Condition, find_condition
from graft_core.api.v1alpha1.finetunejob import FineTuneJob, FineTuneJobStatus
from graft_core.api.v1alpha1.modelrelease import ModelReleaseStatus
from graft_operator.reconcile.decision import FineTuneJobDecision, ModelReleaseDecision
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.observed import (
    Absent,
    Arm,
    ArtifactAbsent,
    Child,
    ChildState,
    ObservedFineTuneJob,
    ObservedModelRelease,
    Target,
    Traffic,
    Window,
)
from tests.builders import BASE_REVISION, NOW, a_finetunejob, a_release, after

__all__ = [
    "BLUE",
    "GREEN",
    "RED",
    "a_condition",
    "a_finished_status",
    "a_target",
    "a_view",
    "a_window",
    "an_arm",
    "condition",
    "decide_job",
    "message",
    "seen",
]

BLUE = "b" * 10
"""The stable revision."""
GREEN = "c" * 10
"""The candidate."""
RED = "a" * 10
"""Another one."""


def seen(
    job: FineTuneJob | None = None, *, check: ChildState | None = None, train: ChildState | None = None, **fields: Any
) -> ObservedFineTuneJob:
    """Build a view of a job."""
    values: dict[str, Any] = {"artifact": ArtifactAbsent(NOW), **fields}
    return ObservedFineTuneJob(
        job=job or a_finetunejob(),
        check=Child("tune-check-1", check or Absent(), "21"),
        train=Child("tune-train-1", train or Absent(), "22"),
        **values,
    )


def decide_job(view: ObservedFineTuneJob, now: datetime = NOW) -> FineTuneJobDecision:
    """Decide, and hold the pass to what every pass must keep: said twice, it says nothing new."""
    decision = decide_finetunejob(view, now)
    _check_status(decision)
    again = decide_finetunejob(replace(view, job=view.job.model_copy(update={"status": decision.status})), now)
    assert again.status == decision.status
    return decision


def a_target(revision: str = GREEN) -> Target:
    """Build a target."""
    return Target(
        revision=revision,
        uri=f"file:///store/{revision}/",
        digest="sha256:" + revision[0] * 64,
        base_model="Qwen/Qwen2.5-0.5B",
        base_revision=BASE_REVISION,
        task="text-to-json",
    )


def an_arm(revision: str, weight: int, *, ready: bool = True, **fields: Any) -> Arm:
    """Build an arm."""
    return Arm(
        revision=revision,
        digest="sha256:" + revision[0] * 64,
        ready=ready,
        weight_observed=weight,
        resource_version=f"rv-{revision}",
        **fields,
    )


def a_window(revision: str, since: datetime, now: datetime, **figures: Any) -> Window:
    """Build a healthy window: 200 requests, 1 % errors, answers in about a tenth of a second."""
    values: dict[str, Any] = {
        "ok": 198.0,
        "errors": 2.0,
        "blocked": 0.0,
        "latency": ((0.05, 20.0), (0.1, 180.0), (0.2, 200.0), (float("inf"), 200.0)),
        **figures,
    }
    return Window(revision=revision, since=since, scraped_at=now, **values)


def a_view(
    spec: dict[str, Any] | None = None, *, status: ModelReleaseStatus | None = None, **fields: Any
) -> ObservedModelRelease:
    """Build a view of a release; requested weights follow from the arms unless given."""
    metadata = fields.pop("metadata", {})
    arms: tuple[Arm, ...] = fields.pop("arms", ())
    requested = fields.pop("requested", {arm.revision: arm.weight_observed for arm in arms if arm.weight_observed})
    values: dict[str, Any] = {
        "target": a_target(),
        "known": {arm.revision: arm.digest for arm in arms},
        "url": "http://127.0.0.1:8080/shop",
        **fields,
    }
    return ObservedModelRelease(
        release=a_release(spec, status=status, **metadata), arms=arms, traffic=Traffic(requested, "rv-split"), **values
    )


def condition(decision: FineTuneJobDecision | ModelReleaseDecision, kind: str) -> tuple[str, str]:
    """Return status and reason of a condition."""
    found = find_condition(decision.status.conditions, kind)
    assert found is not None, [c.type for c in decision.status.conditions]
    return found.status, found.reason


def message(decision: FineTuneJobDecision | ModelReleaseDecision, kind: str) -> str:
    """Return a condition's message."""
    found = find_condition(decision.status.conditions, kind)
    assert found is not None
    return found.message


def a_condition(kind: str, status: Any = "True", reason: str = "Done", at: datetime | None = None) -> Condition:
    """Build a condition."""
    stamp = (at or after(-60)).isoformat()
    return Condition(
        type=kind, status=status, reason=reason, message="", observed_generation=1, last_transition_time=stamp
    )


def a_finished_status(kind: str = "Complete", *, at: datetime = NOW) -> FineTuneJobStatus:
    """Build the status of a job that ended."""
    return FineTuneJobStatus(conditions=(a_condition(kind, at=at),), finished_at=at.isoformat(), observed_generation=1)


def _check_status(decision: FineTuneJobDecision | ModelReleaseDecision) -> None:
    status = decision.status
    assert len(status.model_dump_json(by_alias=True).encode()) <= 32 * 1024
    assert type(status).model_validate_json(status.model_dump_json(by_alias=True)) == status
    for found in status.conditions:
        assert found.reason
        assert found.message or found.observed_generation == 1
