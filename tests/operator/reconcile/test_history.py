"""History is bounded and never forgets the way back."""

from graft_core.api.v1alpha1.modelrelease import HistoryEntry
from graft_core.clock import to_rfc3339
from graft_operator.reconcile import history
from tests.builders import NOW


def grown(*outcomes: tuple[str, history.Outcome]) -> tuple[HistoryEntry, ...]:
    entries: tuple[HistoryEntry, ...] = ()
    for revision, outcome in outcomes:
        entries = history.add(entries, revision * 10, "", outcome, reason="Why", message="ờ" * 999, at=to_rfc3339(NOW))
    return entries


def test_the_ring_keeps_twenty_entries_and_the_last_two_promotions() -> None:
    failures: list[tuple[str, history.Outcome]] = [("d", "RolledBack")] * 40
    entries = grown(("a", "Promoted"), ("b", "Promoted"), ("c", "Promoted"), *failures)
    assert len(entries) == history.MAX_ENTRIES
    assert [entry.revision[0] for entry in entries if entry.outcome == "Promoted"] == ["b", "c"]
    assert all(len(entry.message.encode()) <= history.MESSAGE_BYTES for entry in entries)


def test_the_way_back_is_the_last_promotion_of_another_revision_that_did_not_fail_since() -> None:
    entries = grown(("a", "Promoted"), ("b", "Promoted"), ("c", "Promoted"), ("b", "RolledBack"))
    found = history.previous_promoted(entries, "c" * 10)
    assert found is not None
    assert found.revision == "a" * 10
    assert history.previous_promoted(grown(("c", "Promoted")), "c" * 10) is None


def test_how_a_revision_ended_is_its_last_entry() -> None:
    entries = grown(("a", "RolledBack"), ("a", "Promoted"))
    assert not history.is_rolled_back(entries, "a" * 10)
    assert not history.is_rolled_back(entries, "b" * 10)
