"""docs/user/troubleshooting.md names each reason that Graft sets, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from graft_core.contracts.exit_codes import ExitClass
from graft_core.errors import Corrupt, Forbidden, GraftError, InvalidInput, NotReady, Unavailable
from graft_operator.engine.trouble import is_trouble
from tests.house import ROOT

PAGE = ROOT / "docs" / "user" / "troubleshooting.md"
SOURCES = sorted((ROOT / "operator" / "src" / "graft_operator" / "reconcile").glob("*.py"))
OPERATOR = ROOT / "operator" / "src" / "graft_operator"
TELLING = (
    OPERATOR / "local" / "child_view.py",
    *(path for room in ("reconcile/kube", "engine", "cluster") for path in sorted((OPERATOR / room).glob("*.py"))),
)
"""Where children are read, on one machine and on a cluster, and what stands around a pass: words there are reasons where a call says so."""

REASON_OF_CALL = {"Pending": 1, "Event": 1, "NotYet": 0, "Refused": 0, "Refusal": 2, "set_condition": 3}
"""Which argument of a call is a reason."""
TROUBLES = (InvalidInput, Forbidden, Corrupt)
"""Errors that a pass tells on its object, as `engine.trouble.is_trouble` has them."""
CAMEL = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*")

NO_REASONS = {
    *("True", "False", "Unknown", "Normal", "Warning"),
    *("Scheduled", "AnalysisHealthy", "ArtifactVerified", "TrafficSplit", "Suspended"),  # conditions
    *("Suspend", "Watchdog", "End"),  # StopReason
    *("InsufficientEvidence", "Job", "Orphan", "TrainJob"),  # values of fields
}
"""CamelCase words of the reconcilers that are something else."""

NO_CONDITION = {ExitClass.SUCCEEDED.value}
"""An exit class that never is the reason of anything."""


def _words(node: ast.AST) -> Iterator[str]:
    """Yield CamelCase texts, but for what is exported or an annotation."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in child.targets):
            continue
        if isinstance(child, ast.Constant) and isinstance(child.value, str) and CAMEL.fullmatch(child.value):
            yield child.value
        if isinstance(child, ast.arg):
            continue
        yield from _words(child.value if isinstance(child, ast.AnnAssign) and child.value else child)


@pytest.fixture(scope="module")
def reasons() -> set[str]:
    """Reasons in the code; parsing it takes longer on a busy machine than a test may."""
    return _reasons_in_code()


def _reasons_in_code() -> set[str]:
    found = {word for path in SOURCES for word in _words(ast.parse(path.read_text(encoding="utf-8")))}
    found |= {kind.value for kind in ExitClass} - NO_CONDITION
    found |= {"Preparing", "Training", "Evaluating", "Publishing"}  # graft_core.contracts.train_report.TrainPhase
    found |= {error.reason for error in TROUBLES}
    return found.union(*map(_reasons_of_calls, TELLING)) - NO_REASONS


def _reasons_of_calls(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8")
    if not any(f"{name}(" in text for name in (*REASON_OF_CALL, "InvalidInput")):
        return set()  # most files tell nothing, and parsing takes its time
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    args = [
        node.args[REASON_OF_CALL[node.func.id]]
        for node in calls
        if isinstance(node.func, ast.Name) and len(node.args) > REASON_OF_CALL.get(node.func.id, 99)
    ]
    args += [
        word.value
        for node in calls
        for word in node.keywords
        if word.arg == "reason" and getattr(node.func, "id", "") == "InvalidInput"
    ]
    return {
        arg.value
        for arg in args
        if isinstance(arg, ast.Constant) and isinstance(arg.value, str) and CAMEL.fullmatch(arg.value)
    }


def _reasons_on_the_page() -> set[str]:
    text = PAGE.read_text(encoding="utf-8").partition("## When a command says no")[0]
    text = re.sub(r"^\| the cluster's word .*?\n\n", "", text, flags=re.MULTILINE | re.DOTALL)  # not Graft's
    return set(re.findall(r"^\| `([A-Z][A-Za-z]+)` \|", text, re.MULTILINE))


def test_every_reason_has_its_line(reasons: set[str]) -> None:
    assert reasons - _reasons_on_the_page() == set()


def test_no_line_is_about_a_reason_that_is_never_set(reasons: set[str]) -> None:
    assert _reasons_on_the_page() - reasons == set()


def test_the_troubles_are_those_that_a_pass_tells() -> None:
    assert all(is_trouble(error("")) for error in TROUBLES)
    assert not any(is_trouble(error("")) for error in (GraftError, NotReady, Unavailable))
