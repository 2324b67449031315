"""Requests for whole runs over tiny models."""

import json
import random
from pathlib import Path
from typing import Any

from graft_core.contracts.train_request import TrainRequest
from tests.trainer.tiny import make_encoder

__all__ = ["a_request", "write_request", "write_texts"]

GOOD, BAD = ("good", "fine", "great"), ("bad", "poor", "awful")


def write_texts(path: Path, count: int = 120) -> Path:
    """A CSV of short labelled texts, all different."""
    rng = random.Random(3)
    rows = [
        f"{rng.choice(BAD if i % 2 else GOOD)} it was number {i},{'bad' if i % 2 else 'good'}" for i in range(count)
    ]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


def a_request(root: Path, **changes: Any) -> dict[str, Any]:
    """Classification on a tiny encoder; `changes` replace whole sections, `training` is merged."""
    if not (root / "base").exists():
        make_encoder(root / "base")
        write_texts(root / "data.csv")
    training = {"epochs": 2, "learningRate": "1e-2", "batchSize": 16, "maxLength": 32} | changes.pop("training", {})
    return {
        "job": {"namespace": "ml", "name": "mood", "uid": "uid-1"},
        "task": {"type": "classification"},
        "model": {"id": f"file://{root}/base"},
        "dataset": {"train": [f"file://{root}/data.csv"], "split": {"test": "0.2"}},
        "method": {"objective": "classification", "adapter": {"r": 4, "alpha": 8}},
        "training": training,
        "evaluation": {"gates": [{"metric": "accuracy", "min": "0"}]},
        "outputPrefix": f"file://{root}/store/ml/mood/",
        "compute": {"threads": 1},
    } | changes


def write_request(path: Path, request: dict[str, Any]) -> Path:
    """Write a request as the operator does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TrainRequest.model_validate(json.loads(json.dumps(request))).to_json())
    return path
