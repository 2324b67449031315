"""A revision is made of everything an arm is given, and of nothing else."""

from typing import Any

import pytest

from graft_operator.render.revision import revision_of
from tests.builders import a_release

DIGEST = "sha256:" + "9" * 64


def revision(spec: dict[str, Any] | None = None, digest: str = DIGEST) -> str:
    return revision_of(a_release(spec).spec, digest)


def test_a_revision_is_ten_hex_digits_and_the_same_each_time() -> None:
    assert revision() == revision() == "e13f1710f1"


@pytest.mark.parametrize(
    "spec",
    [
        {"engine": {"args": ["--num-beams=2"]}},
        {"predictor": {"timeoutSeconds": 5}},
        {"cache": {"memory": {}}},
        {"guardrails": {"onError": "open"}},
        {"routing": {}},
        {"requestLog": {"uri": "file:///log/"}},
        {"attempt": 1},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_what_an_arm_is_given_makes_a_revision(spec: dict[str, Any]) -> None:
    assert revision(spec) != revision()


def test_another_adapter_is_another_revision() -> None:
    assert revision(digest="sha256:" + "8" * 64) != revision()


@pytest.mark.parametrize(
    "spec",
    [
        {"rollout": {"steps": [{"weight": 7}]}},
        {"paused": True},
        {"abort": True},
        {"rollbackTo": "a" * 10},
        {"engine": {"type": "transformers"}},
        {"predictor": {"timeoutSeconds": 120}},
    ],
    ids=["steps", "paused", "abort", "rollbackTo", "default-engine", "default-timeout"],
)
def test_how_it_is_rolled_out_and_defaults_written_out_make_none(spec: dict[str, Any]) -> None:
    assert revision(spec) == revision()
