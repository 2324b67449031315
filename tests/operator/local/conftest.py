"""What every test of the local shell gets."""

import pytest

from graft_operator.local.admission import admit
from tests.operator.local.doubles import a_job, a_release


@pytest.fixture(scope="session", autouse=True)
def compiled_rules() -> None:
    """Compile the API's rules once, in no test's own time."""
    admit(a_job(), None)
    admit(a_release(), None)
