"""The guides' "Not in this version" names what the local shell refuses, and nothing else."""

import re

import pytest

from graft_operator.reconcile.support import LOCAL_SHELL, KindSupport
from tests.house import ROOT


@pytest.mark.parametrize(
    ("page", "support"),
    [("finetunejob", LOCAL_SHELL.finetunejob), ("modelrelease", LOCAL_SHELL.modelrelease)],
)
def test_the_guide_names_every_refused_field(page: str, support: KindSupport) -> None:
    text = (ROOT / "docs" / "user" / f"{page}.md").read_text(encoding="utf-8").partition("## Not in this version")[2]
    always, _, partly = text.partition("With some values only")
    assert set(re.findall(r"`([^`]+)`", always)) == {_short(path) for path in support.refused}
    told = {
        name for row in re.findall(r"^\| (`.+?) \|", partly, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }
    assert told == {_short(rule.path) for rule in support.values}


def _short(path: str) -> str:
    return path.removeprefix("spec.").replace("?", "")
