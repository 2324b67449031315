"""The command line: fast help, and faults that name the field."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graft_core.errors import InvalidInput, NotSupported
from graft_predictor import __main__ as command
from graft_predictor.settings import read_config
from tests.predictor.builders import a_config


def write(path: Path, raw: dict[str, Any] | None = None, **changes: Any) -> Path:
    path.write_text(a_config(**changes).to_json() if raw is None else json.dumps(raw))
    return path


@pytest.mark.slow
def test_help_imports_neither_torch_nor_kserve() -> None:
    code = (
        "import sys; from graft_predictor.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in ('torch', 'kserve', 'fastapi', 'pydantic') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout

    assert "usage: graft-predictor" in out
    assert out.strip().endswith("[]")


def test_a_good_file_is_read_back(tmp_path: Path) -> None:
    assert read_config(write(tmp_path / "c.json")) == a_config()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cache": {"exact": {"redis": {"secretRef": {"name": "a", "key": "b"}}}}}, "cache.exact.redis"),
        (
            {"cache": {"semantic": {"milvus": {"uri": "http://m"}, "embeddingModel": {"id": "a/b"}}}},
            "cache.semantic",
        ),
        ({"requestLog": {"uri": "file:///log/", "storeText": True}}, "requestLog.redactPii"),
        ({"requestLog": {"uri": "s3://bucket/log/", "secretRef": {"name": "a"}}}, "requestLog.secretRef"),
    ],
)
def test_what_is_not_built_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(NotSupported, match="not supported in this version") as caught:
        read_config(write(tmp_path / "c.json", **changes))

    assert caught.value.path == field


@pytest.mark.parametrize(
    ("raw", "told"),
    [({}, "release: Field required; revision"), ({**json.loads(a_config().to_json()), "x": 1}, "x: Extra inputs")],
)
def test_every_fault_of_the_file_is_told(tmp_path: Path, raw: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read_config(write(tmp_path / "c.json", raw))


def test_a_file_that_is_missing_or_huge_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        read_config(tmp_path / "none.json")
    (tmp_path / "big").write_bytes(b" " * (1024 * 1024 + 1))
    with pytest.raises(InvalidInput, match="at most 1048576"):
        read_config(tmp_path / "big")


def test_a_bad_configuration_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = command.main(["--config", str(tmp_path / "none.json"), "--port", "1"])

    assert code == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "x"])
def test_a_bad_port_ends_with_2(port: str) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--config", "c", "--port", port])

    assert caught.value.code == 2


def test_counts_of_other_processes_are_kept_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    command._prepare_environment()

    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
