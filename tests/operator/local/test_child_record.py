"""What the end of a child's attempt means, row by row."""

import pytest

from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass
from graft_operator.local.child_record import ChildRecord, after_exit
from tests.operator.local.doubles import ManualClock

NOW = ManualClock().now()


def a_record(**values: object) -> ChildRecord:
    base = {
        "name": "texts-train-0",
        "role": "train",
        "uid": "u",
        "owner": "ml/texts",
        "phase": "running",
        "since": "2026-01-01T00:00:00Z",
        "attempt": 1,
        "max_restarts": 2,
        "not_before": "2026-01-01T00:00:00Z",
    }
    return ChildRecord.model_validate(base | values)


def code(kind: ExitClass) -> int:
    return EXIT_CODES[kind]


@pytest.mark.parametrize(
    ("record", "exit_code", "phase", "kind", "restarts"),
    [
        pytest.param({}, 0, "ended", ExitClass.SUCCEEDED, 0, id="it did its work"),
        pytest.param(
            {}, code(ExitClass.INVALID_DATASET), "ended", ExitClass.INVALID_DATASET, 0, id="bad data never restarts"
        ),
        pytest.param({}, code(ExitClass.BUG), "ended", ExitClass.BUG, 0, id="a bug never restarts"),
        pytest.param({}, code(ExitClass.PREEMPTED), "waiting", None, 0, id="preempted restarts, not counted"),
        pytest.param({}, -15, "waiting", None, 0, id="ended by SIGTERM before it could say so"),
        pytest.param({}, code(ExitClass.INFRASTRUCTURE), "waiting", None, 1, id="infrastructure restarts, counted"),
        pytest.param({}, -9, "waiting", None, 1, id="killed restarts, counted"),
        pytest.param({}, None, "waiting", None, 1, id="killed with its supervisor"),
        pytest.param({}, 77, "waiting", None, 1, id="died without saying why"),
        pytest.param({"restarts": 2}, -9, "ended", ExitClass.KILLED, 2, id="restarts used up"),
        pytest.param({"phase": "stopping", "stop": "Suspend"}, 143, "suspended", None, 0, id="suspended"),
        pytest.param({"phase": "stopping", "stop": "Suspend"}, None, "suspended", None, 0, id="suspended the hard way"),
        pytest.param(
            {"phase": "stopping", "stop": "Suspend"},
            0,
            "ended",
            ExitClass.SUCCEEDED,
            0,
            id="finished before it was suspended",
        ),
        pytest.param({"phase": "stopping", "stop": "Watchdog"}, 143, "waiting", None, 1, id="the watchdog counts"),
        pytest.param(
            {"phase": "stopping", "stop": "Watchdog", "restarts": 2},
            143,
            "ended",
            ExitClass.INFRASTRUCTURE,
            2,
            id="hung again",
        ),
        pytest.param({"phase": "stopping", "stop": "End"}, 143, "ended", ExitClass.PREEMPTED, 0, id="ended for good"),
        pytest.param(
            {"exit_class": "OutOfMemory"}, -9, "ended", ExitClass.OUT_OF_MEMORY, 0, id="killed for its memory"
        ),
        pytest.param({"exit_class": "OutOfMemory"}, 0, "ended", ExitClass.SUCCEEDED, 0, id="finished just before that"),
    ],
)
def test_the_end_of_an_attempt(
    record: dict[str, object], exit_code: int | None, phase: str, kind: ExitClass | None, restarts: int
) -> None:
    before = a_record(**record)
    found = after_exit(before, exit_code, NOW, (1.0, 30.0))
    assert (found.phase, found.restarts, found.stop) == (phase, restarts, "")
    assert found.version == before.version + 1
    if phase == "ended":
        assert found.exit_class is kind


def test_the_back_off_doubles_to_its_cap_with_jitter() -> None:
    waits: list[float] = []
    record = a_record(max_restarts=20)
    for _ in range(8):
        record = after_exit(record, -9, NOW, (1.0, 30.0))
        from graft_core.clock import from_rfc3339

        waits.append((from_rfc3339(record.not_before) - NOW).total_seconds())
    for wait, ceiling in zip(waits, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert ceiling / 2 <= wait <= ceiling
