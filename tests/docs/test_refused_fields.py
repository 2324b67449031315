"""The guides say what each shell refuses, and nothing else: "Not in this version" the local one, "On a cluster" the other."""

import re

import pytest

from graft_operator.reconcile.cluster_support import CLUSTER_FINETUNEJOB, finetunejob_support
from graft_operator.reconcile.support import LOCAL_SHELL, KindSupport
from tests.house import ROOT


def assert_named(text: str, marker: str, support: KindSupport) -> None:
    always, found, partly = text.partition(marker)
    assert found
    named = re.findall(r"`([^`]+)`", always.rpartition("wherever they are set:")[2])
    assert set(named) == {_short(path) for path in support.refused}
    told = {
        name for row in re.findall(r"^\| (`.+?) \|", partly, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }
    assert told == {_short(rule.path) for rule in support.values}


@pytest.mark.parametrize(
    ("page", "support"),
    [("finetunejob", LOCAL_SHELL.finetunejob), ("modelrelease", LOCAL_SHELL.modelrelease)],
)
def test_the_guide_names_every_refused_field(page: str, support: KindSupport) -> None:
    text = (ROOT / "docs" / "user" / f"{page}.md").read_text(encoding="utf-8").partition("## Not in this version")[2]
    assert_named(text, "With some values only", support)


def test_the_guide_names_every_field_of_a_job_that_a_cluster_refuses() -> None:
    text = (ROOT / "docs" / "user" / "finetunejob.md").read_text(encoding="utf-8")
    part = text.partition("## On a cluster")[2].partition("\n## ")[0]
    support = finetunejob_support(has_train_jobs=False)
    assert support.refused == CLUSTER_FINETUNEJOB.refused  # with TrainJobs, only the last line falls away
    assert_named(part, "Refused there with some values", support)


def _short(path: str) -> str:
    return path.removeprefix("spec.").replace("?", "")
