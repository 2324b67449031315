"""The verbs that change one field: suspend, resume, promote, abort, rollback."""

from typing import Any

import pytest

from graft_core.errors import Conflict
from graft_operator.cli.local_session import LocalSession
from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import Served, a_job, a_release

CANDIDATE = {"candidate": {"revision": "88aa88aa88", "weight": 5, "step": 0, "since": "2026-01-31T09:00:00Z"}}


def entry(revision: str, outcome: str = "Promoted") -> dict[str, Any]:
    return {"revision": revision, "outcome": outcome, "at": "2026-01-31T09:00:00Z"}


PAST: dict[str, Any] = {
    "stable": {"revision": "cccccccccc", "weight": 100},
    "history": [entry("aaaaaaaaaa"), entry("dddddddddd", "RolledBack"), entry("bbbbbbbbbb"), entry("cccccccccc")],
}


def test_a_job_is_suspended_and_resumed(ask: Graft, served: Served) -> None:
    served.add(a_job())

    assert ask("suspend", "ftj/texts").out == "finetunejob.graft.dev/texts suspended\n"
    assert served.read("ftj", "texts")["spec"]["suspend"] is True
    assert ask("suspend", "ftj", "texts").out == "finetunejob.graft.dev/texts is already suspended\n"
    assert ask("resume", "ftj/texts").out == "finetunejob.graft.dev/texts resumed\n"
    assert served.read("ftj", "texts")["spec"]["suspend"] is False
    assert ask("resume", "ftj/texts").out == "finetunejob.graft.dev/texts is not suspended\n"


def test_a_release_is_held_and_promoted(ask: Graft, served: Served) -> None:
    served.add(a_release())
    served.set_status("mr", "shop", CANDIDATE)

    assert ask("promote", "shop").err == (
        "error: the rollout of 88aa88aa88 is not paused; it moves by itself when its analysis passes\n"
    )
    assert ask("suspend", "mr/shop").code == 0
    assert served.read("mr", "shop")["spec"]["paused"] is True
    assert ask("promote", "mr/shop").out == "modelrelease.graft.dev/shop resumed: 88aa88aa88 goes on from step 1\n"
    assert served.read("mr", "shop")["spec"]["paused"] is False


def test_a_candidate_is_taken_back(ask: Graft, served: Served) -> None:
    served.add(a_release())
    served.set_status("mr", "shop", CANDIDATE)

    assert ask("abort", "mr/shop").out == "modelrelease.graft.dev/shop aborting 88aa88aa88\n"
    assert served.read("mr", "shop")["spec"]["abort"] is True


@pytest.mark.parametrize(("words", "revision"), [([], "bbbbbbbbbb"), (["--to", "aaaaaaaaaa"], "aaaaaaaaaa")])
def test_a_release_goes_back_to_what_was_promoted(ask: Graft, served: Served, words: list[str], revision: str) -> None:
    served.add(a_release())
    served.set_status("mr", "shop", PAST)

    assert ask("rollback", "shop", *words).out == f"modelrelease.graft.dev/shop rolling back to {revision}\n"
    assert served.read("mr", "shop")["spec"]["rollbackTo"] == revision


REFUSED = {
    "promote without a candidate": (["promote", "shop"], {}, "'shop' has no candidate to promote"),
    "abort without a candidate": (["abort", "shop"], {}, "'shop' has no candidate to take back; `graft rollback` goes"),
    "nothing to go back to": (["rollback", "shop"], {}, "no earlier revision of 'shop' was promoted"),
    "back to a revision that failed": (
        ["rollback", "shop", "--to", "dddddddddd"],
        PAST,
        "revision 'dddddddddd' was never promoted; expected one of aaaaaaaaaa, bbbbbbbbbb, cccccccccc",
    ),
    "back to what runs": (["rollback", "shop", "--to", "cccccccccc"], PAST, "'cccccccccc' is the one that runs"),
    "another kind": (["abort", "ftj/shop"], {}, "'ftj/shop' is not one modelrelease; expected e.g. mr/my-name"),
    "not there": (["suspend", "mr/none"], {}, '"none" not found in namespace'),
}


@pytest.mark.parametrize(("words", "status", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_is_refused(
    ask: Graft, served: Served, words: list[str], status: dict[str, Any], told: str
) -> None:
    served.add(a_release())
    served.set_status("mr", "shop", status)

    ran = ask(*words)

    assert told in ran.err
    assert ran.code == 1


def test_a_change_in_between_is_read_again(ask: Graft, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.add(a_job())
    get = LocalSession.get

    def get_then_change(self: LocalSession, target: Any) -> Any:
        found = get(self, target)
        if not served.read("ftj", "texts")["status"]:
            served.set_status("ftj", "texts", {"phase": "Training"})
        return found

    monkeypatch.setattr(LocalSession, "get", get_then_change)

    assert ask("suspend", "ftj/texts").code == 0
    assert served.read("ftj", "texts")["spec"]["suspend"] is True


def test_a_change_each_time_is_given_up(ask: Graft, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.add(a_job())

    def refuse(*args: object) -> None:
        raise Conflict("changed")

    monkeypatch.setattr(LocalSession, "change_spec", refuse)

    assert ask("suspend", "ftj/texts").err == (
        "error: finetunejobs/texts changed 5 times while it was being written; try again\n"
    )
