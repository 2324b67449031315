"""The tables in the docstrings and the tests of their rows stay in step."""

import re
from types import ModuleType

import pytest

from graft_operator.reconcile import finetunejob, modelrelease
from tests.operator.reconcile import (
    test_finetunejob,
    test_job_children,
    test_modelrelease,
    test_rollout,
    test_steady_release,
)


@pytest.mark.parametrize(
    ("machine", "tests", "last"),
    [
        (finetunejob, (test_finetunejob, test_job_children), 18),
        (modelrelease, (test_modelrelease, test_steady_release, test_rollout), 20),
    ],
    ids=["FineTuneJob", "ModelRelease"],
)
def test_every_row_of_the_table_has_a_test_of_its_own(
    machine: ModuleType, tests: tuple[ModuleType, ...], last: int
) -> None:
    rows = {int(number) for number in re.findall(r"^    (\d+)  +\S", machine.__doc__ or "", flags=re.MULTILINE)}
    tested = {
        int(found[1]) for module in tests for name in vars(module) if (found := re.match(r"test_row_(\d+)_", name))
    }
    assert rows == tested == set(range(1, last + 1))
