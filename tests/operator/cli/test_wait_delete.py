"""`graft wait` and `graft delete`: what ends them, and how they end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graft_core.errors import GraftError
from graft_operator.cli.goals import Goal
from graft_operator.cli.local_session import LocalSession
from graft_operator.cli.session import Listing
from graft_operator.cli.watching import follow
from graft_operator.local.client import Client
from graft_operator.local.resources import KINDS
from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import Served, a_job, a_release, key_of


def condition(kind: str, status: str = "True", message: str = "") -> dict[str, Any]:
    stamp = "2026-01-31T09:00:00Z"
    return {"type": kind, "status": status, "reason": "Because", "message": message, "lastTransitionTime": stamp}


def setter(served: Served, kind: str, name: str, status: dict[str, Any]) -> Callable[[], object]:
    """A status write to be done later, on the server's own thread."""
    key = key_of(kind, name)
    return lambda: served.store.update_status(key, served.store.get(key)["metadata"]["uid"], status)


def remover(served: Served, kind: str, name: str) -> Callable[[], object]:
    """The end of an object under deletion, to be done later."""
    key = key_of(kind, name)
    return lambda: served.store.remove_finalizer(key, served.store.get(key)["metadata"]["uid"])


def test_a_goal_met_already_returns_at_once(ask: Graft, served: Served) -> None:
    served.add(a_job())
    served.set_status("ftj", "texts", {"conditions": [condition("Complete")]})

    ran = ask("wait", "ftj/texts", "--for=condition=Complete", "--timeout=0")

    assert (ran.code, ran.out) == (0, "finetunejob.graft.dev/texts condition met\n")


def test_a_goal_is_waited_for(ask: Graft, served: Served) -> None:
    served.add(a_job(), a_job("other"))
    served.later(setter(served, "ftj", "other", {"phase": "Done"}))
    served.later(setter(served, "ftj", "texts", {"phase": "Training"}), 0.1)
    served.later(setter(served, "ftj", "texts", {"phase": "Done"}), 0.15)

    assert ask("wait", "ftj", "texts", "other", "--for=jsonpath={.status.phase}=Done", "--timeout=1s").code == 0


def test_the_time_may_be_over_first(ask: Graft, served: Served) -> None:
    served.add(a_job())

    ran = ask("wait", "ftj/texts", "--for=condition=Complete", "--timeout=20ms")

    assert ran.code == 1
    assert ran.err == "error: timed out waiting for condition Complete on finetunejobs/texts\n"


def test_a_job_that_fails_is_not_waited_for_any_longer(ask: Graft, served: Served) -> None:
    served.add(a_job())
    served.later(setter(served, "ftj", "texts", {"conditions": [condition("Failed", message="line 7 is no JSON")]}))

    ran = ask("wait", "ftj/texts", "--for=condition=Complete", "--timeout=1m")

    assert ran.code == 1
    assert ran.err == (
        "error: finetunejobs/texts will not meet condition Complete any more: it is Failed: Because: line 7 is no JSON\n"
    )


def test_an_object_that_goes_away_meets_only_the_goal_delete(ask: Graft, served: Served) -> None:
    served.add(a_release())
    served.do(lambda: served.store.delete(key_of("mr", "shop")))
    served.later(remover(served, "mr", "shop"))

    ran = ask("wait", "mr/shop", "--for=jsonpath={.status.phase}=Released", "--timeout=1m")

    assert ran.err == ("error: modelreleases/shop was deleted while waiting for jsonpath {.status.phase}=Released\n")
    assert ask("wait", "mr/shop", "--for=delete").out == "modelrelease.graft.dev/shop deleted\n"


def test_waiting_for_what_is_not_there_is_an_error(ask: Graft) -> None:
    ran = ask("wait", "mr/shop", "--for=condition=Ready")

    assert (ran.code, ran.err) == (1, 'error: modelreleases.graft.dev "shop" not found\n')


def test_waiting_ends_with_the_server(ask: Graft, served: Served) -> None:
    served.add(a_release())
    served.later(served.hang_up)

    ran = ask("wait", "mr/shop", "--for=delete", "--timeout=1m")

    assert (ran.code, ran.err) == (
        1,
        "error: graft up ended; start it again with `graft up`, and then this command\n",
    )


def test_a_watch_that_is_refused_says_why(served: Served) -> None:
    session = LocalSession(Client(served.state))

    with pytest.raises(GraftError, match="resourceVersion 'yesterday' is not a number; expected that of a list"):
        next(follow(session, {KINDS[0]: Listing([], "yesterday")}))


def test_deleting_waits_until_the_object_is_gone(ask: Graft, served: Served) -> None:
    served.add(a_job(), a_release())
    served.later(remover(served, "ftj", "texts"), 0.1)
    served.later(remover(served, "mr", "shop"), 0.15)

    ran = ask("delete", "ftj/texts", "mr/shop")

    assert ran.out == 'finetunejob.graft.dev "texts" deleted\nmodelrelease.graft.dev "shop" deleted\n'
    assert (ran.code, served.names("ftj"), served.names("mr")) == (0, [], [])


def test_deleting_without_waiting_leaves_the_end_to_the_reconciler(ask: Graft, served: Served) -> None:
    served.add(a_job())

    ran = ask("delete", "ftj", "texts", "--wait=false")

    assert ran.out == 'finetunejob.graft.dev "texts" deleted\n'
    assert served.read("ftj", "texts")["metadata"]["deletionTimestamp"]


def test_deleting_may_time_out(ask: Graft, served: Served) -> None:
    served.add(a_job())

    ran = ask("delete", "ftj/texts", "--timeout=20ms")

    assert (ran.code, ran.err) == (1, "error: timed out waiting for its end on finetunejobs/texts\n")


def test_what_is_missing_is_told_after_the_others_were_deleted(ask: Graft, served: Served) -> None:
    served.add(a_job())

    ran = ask("delete", "ftj", "none", "texts", "--wait=false")

    assert ran.out == 'finetunejob.graft.dev "texts" deleted\n'
    assert (ran.code, ran.err) == (1, 'error: finetunejobs.graft.dev "none" not found\n')
    assert ask("delete", "ftj/none", "--ignore-not-found").code == 0


def test_files_name_what_to_delete_and_where(ask: Graft, served: Served, tmp_path: Path) -> None:
    served.add(a_job(), namespace="ml")
    file = tmp_path / "job.yaml"
    file.write_text(
        "apiVersion: graft.dev/v1alpha1\nkind: FineTuneJob\nmetadata: {name: texts, namespace: ml}\nspec: {}\n"
    )
    key = key_of("ftj", "texts", "ml")
    served.later(lambda: served.store.remove_finalizer(key, served.store.get(key)["metadata"]["uid"]), 0.1)

    assert "is not the 'shop' of -n" in ask("delete", "-f", file, "-n", "shop").err
    assert ask("delete", "-f", file).out == 'finetunejob.graft.dev "texts" deleted\n'
    assert served.names("ftj") == []


@pytest.mark.parametrize(
    ("words", "left"),
    [(["ftj", "-l", "team=search"], ["b"]), (["ftj", "--all"], []), (["all", "-l", "none=here"], ["a", "b"])],
)
def test_a_selector_or_all_choose_what_to_delete(ask: Graft, served: Served, words: list[str], left: list[str]) -> None:
    labelled = a_job("a")
    labelled["metadata"]["labels"] = {"team": "search"}
    served.add(labelled, a_job("b"))
    for name in ("a", "b"):
        served.finish_deletion("ftj", name)

    ran = ask("delete", *words)

    assert ran.code == 0
    assert served.names("ftj") == left
    assert ("No resources found" in ran.err) is (left == ["a", "b"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to delete was named, or both names and -f"),
        (["ftj/a", "-f", "x.yaml"], "nothing to delete was named, or both names and -f"),
        (["ftj"], "cannot tell which object is meant by 'ftj'"),
        (["ftj/a", "--all"], "'ftj/a' goes with neither -l nor --all; expected kinds alone"),
        (["-f", "none.yaml"], "none.yaml: no such file or folder"),
        (["ftj/a", "--timeout", "soon"], "'soon' is not a duration"),
    ],
)
def test_a_deletion_that_is_not_clear_is_refused(ask: Graft, words: list[str], told: str) -> None:
    ran = ask("delete", *words)

    assert told in ran.err
    assert ran.code == 1


def test_a_goal_of_deletion_is_never_met_by_what_is_there() -> None:
    assert Goal("delete").why_never({}) == ""
