"""`reconcile.trial` against the status it is read from and turned back into."""

from dataclasses import fields

from graft_core.api.v1alpha1.modelrelease import CandidateStatus
from graft_operator.reconcile.trial import Trial
from tests.operator.reconcile.views import GREEN

AT = "2026-01-01T00:00:00.000000Z"
STATUS = CandidateStatus(
    revision=GREEN,
    digest="sha256:" + "c" * 64,
    weight=10,
    step=1,
    since=AT,
    ready_at="2026-01-01T00:00:01Z",
    unready_since="2026-01-01T00:00:02Z",
    weight_since="2026-01-01T00:00:03Z",
    data_missing_since="2026-01-01T00:00:04Z",
    step_since="2026-01-01T00:00:05Z",
    paused_since="2026-01-01T00:00:06Z",
    promoting=True,
)


def test_it_has_the_fields_of_the_status_in_their_order() -> None:
    assert [field.name for field in fields(Trial)] == list(CandidateStatus.model_fields)
    defaults = CandidateStatus(revision=GREEN, since=AT)
    assert Trial(GREEN, "", 0, 0, AT).to_status(None) == defaults


def test_what_is_read_is_written_again() -> None:
    trial = Trial.of(STATUS)
    assert trial.to_status(STATUS) is STATUS
    assert trial.to_status(None) == STATUS
    assert CandidateStatus.model_validate_json(trial.to_status(None).model_dump_json(by_alias=True)) == STATUS


def test_a_change_makes_another_status_and_leaves_the_old_one_alone() -> None:
    trial = Trial.of(STATUS)
    trial.weight = 50
    assert trial.to_status(STATUS) == STATUS.model_copy(update={"weight": 50})
    assert STATUS.weight == 10
