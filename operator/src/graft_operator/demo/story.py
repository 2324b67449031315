"""The whole demo as one JSON document: what was meant to happen, what did, and the figures."""

import json
import os
from pathlib import Path

from graft_operator.demo.board import Board
from graft_operator.local.fields import Json, child

__all__ = ["render_story", "write_story"]

JOB_FACTS = ("phase", "metrics", "baselines", "gates", "dataset", "artifact", "usage", "attempts")
RELEASE_FACTS = ("phase", "url", "stable", "candidate", "analysis", "history")


def render_story(board: Board, *, outcome: str, versions: dict[str, str]) -> Json:
    """Collect the story.

    Args:
        board: At the end of the demo.
        outcome: ok, failed or interrupted.
        versions: Of the libraries that matter.

    Returns:
        A document of JSON types only.
    """
    return {
        "schemaVersion": "v1",
        "outcome": outcome,
        "startedAt": board.started_at,
        "elapsedSeconds": round(board.elapsed_s, 1),
        "versions": versions,
        "acts": [
            {
                "name": act.name,
                "title": act.title,
                "outcome": act.state,
                "expected": act.expected,
                "happened": act.happened,
                "seconds": round(act.seconds, 1),
                "facts": act.facts,
            }
            for act in board.acts
        ],
        "objects": {key: _facts(key, obj) for key, obj in sorted(board.objects.items())},
        "traffic": board.traffic,
        "timeline": [{"elapsedSeconds": n.elapsed_s, "at": n.at, "act": n.act, "text": n.text} for n in board.notes],
    }


def write_story(path: Path, story: Json) -> None:
    """Write the story to a file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(story, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def _facts(key: str, obj: Json) -> Json:
    status = child(obj, "status")
    wanted = JOB_FACTS if key.startswith("finetunejob/") else RELEASE_FACTS
    return {name: status[name] for name in wanted if name in status}
