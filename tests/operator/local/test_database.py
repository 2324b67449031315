"""The database keeps what was committed, and refuses what it does not know."""

import sqlite3
from pathlib import Path

import pytest

from graft_core.errors import Corrupt
from graft_operator.local.database import Database
from graft_operator.local.events import MAX_PER_OBJECT, EventLog
from tests.operator.local.doubles import ManualClock


def test_records_survive_and_a_failed_transaction_leaves_none(tmp_path: Path) -> None:
    database = Database(tmp_path / "objects.db")
    database.put_record("arms", "a", {"n": 1})
    calls: list[int] = []

    def fail_half_way() -> None:
        with database.transaction():
            database.put_record("arms", "b", {"n": 2})
            database.after_commit(lambda: calls.append(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    database.drop_record("arms", "never there")
    database.close()
    again = Database(tmp_path / "objects.db")
    assert again.records("arms") == {"a": {"n": 1}}
    assert calls == []
    again.close()


def test_the_file_is_durable_by_its_settings(tmp_path: Path) -> None:
    database = Database(tmp_path / "objects.db")
    assert database.rows("PRAGMA journal_mode") == [("wal",)]
    assert database.rows("PRAGMA synchronous") == [(2,)]
    database.close()


def test_a_file_of_a_newer_graft_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "objects.db") as sql:
        sql.execute("PRAGMA user_version = 99")
    sql.close()
    with pytest.raises(Corrupt, match="upgrade Graft"):
        Database(tmp_path / "objects.db")


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "objects.db").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(Corrupt, match=r"objects\.db cannot be read"):
        Database(tmp_path / "objects.db")


def test_equal_events_are_counted_and_old_ones_forgotten(tmp_path: Path) -> None:
    database, clock = Database(tmp_path / "objects.db"), ManualClock()
    events = EventLog(database, clock)
    job = {"kind": "FineTuneJob", "metadata": {"uid": "u", "namespace": "ml", "name": "texts"}}
    for number in range(MAX_PER_OBJECT + 10):
        events.record(job, "Normal", "Running", f"step {number}")
    clock.advance(5)
    events.record(job, "Warning", "Slow", "x")
    events.record(job, "Warning", "Slow", "x")
    found = events.find_all("ml", "FineTuneJob", "texts")
    assert len(found) == MAX_PER_OBJECT
    assert found[-1]["count"] == 2
    assert found[-1]["involvedObject"] == {"kind": "FineTuneJob", "namespace": "ml", "name": "texts", "uid": "u"}
    assert events.find_all("ml", "ModelRelease") == []
    assert events.find_all("default") == []
    database.close()
