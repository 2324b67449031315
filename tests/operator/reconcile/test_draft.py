"""Texts and times of a status."""

import pytest

from graft_core.api.v1alpha1.finetunejob import FineTuneJobStatus
from graft_core.errors import Corrupt
from graft_operator.reconcile.draft import Draft, clip, parse_time, seconds_between
from tests.builders import NOW, after


@pytest.mark.parametrize("text", ["", "short", "ờ" * 200, "x" * 640, "x" * 641, "🙂" * 161, "a" + "ờ" * 213])
def test_a_clipped_text_fits_and_stays_text(text: str) -> None:
    cut = clip(text, 640)
    assert len(cut.encode()) <= 640
    assert cut == text or text.startswith(cut[:-1])


def test_a_clock_that_jumped_back_lengthens_no_wait() -> None:
    assert (seconds_between(after(5), NOW), seconds_between(NOW, after(5))) == (0.0, 5.0)


def test_a_time_without_offset_is_corrupt() -> None:
    with pytest.raises(Corrupt, match=r"status.x holds '2026-01-01T00:00:00'"):
        parse_time("2026-01-01T00:00:00", "status.x")


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("ImagePullBackOff", "ImagePullBackOff"), ("exit-code 1", "Exitcode"), ("", "Unknown"), ("404", "Unknown")],
)
def test_reasons_of_others_are_made_camel_case(reason: str, shown: str) -> None:
    draft = Draft(FineTuneJobStatus(), generation=3, now=NOW)
    draft.condition("Scheduled", "False", reason, "why")
    (condition,) = draft.finish("Pending").conditions
    assert (condition.reason, condition.observed_generation) == (shown, 3)


def test_a_change_that_is_taken_back_is_no_change() -> None:
    status = FineTuneJobStatus(observed_generation=3)
    draft = Draft(status, generation=3, now=NOW)
    draft.put(active_seconds=5)
    draft.put(active_seconds=0)
    assert draft.finish("Pending") is status
