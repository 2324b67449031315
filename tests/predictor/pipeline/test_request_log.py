"""What is written of requests, and that requests never wait for it."""

import json
from typing import Any

import pytest

from graft_core.contracts.base import ObjectRef
from graft_core.tasks.messages import Message
from graft_predictor.engines.base import Usage
from graft_predictor.guards.base import GuardVerdict
from graft_predictor.pipeline import request_log
from graft_predictor.pipeline.exchange import Exchange
from graft_predictor.pipeline.request_log import RequestLog
from tests.predictor.doubles import LogStoreDouble, SetClock

RELEASE = ObjectRef(namespace="ml", name="shop", uid="u")


class Dropped:
    count = 0

    def __call__(self, lines: int) -> None:
        self.count += lines


def a_log(store: LogStoreDouble, dropped: Dropped | None = None, **changes: Any) -> RequestLog:
    settings: dict[str, Any] = {"sample_rate": 1.0, "store_text": False, **changes}
    return RequestLog(
        store,
        "logs",
        release=RELEASE,
        revision="0123456789",
        clock=SetClock(),
        on_dropped=dropped or Dropped(),
        **settings,
    )


def an_exchange() -> Exchange:
    exchange = Exchange("gr-0123456789-aa", "chat", 1000.0, lambda _: None, tenant="acme")
    exchange.prompt = (Message("user", "my secret prompt"),)
    exchange.answer = "my secret answer"
    exchange.usage = Usage(4, 3)
    exchange.verdicts = [GuardVerdict("max-tokens", "pass")]
    exchange.outcome = "ok"
    return exchange


def records(store: LogStoreDouble) -> list[dict[str, Any]]:
    return [json.loads(line) for data in store.files.values() for line in data.splitlines()]


def test_without_store_text_only_lengths_hashes_and_verdicts_are_kept() -> None:
    store = LogStoreDouble()
    log = a_log(store)
    log.start()
    log.record_exchange(an_exchange(), now=1000.25)
    log.record_feedback("gr-0123456789-aa", 0.5, "my secret correction")
    log.close()

    request, feedback = records(store)
    assert b"secret" not in b"".join(store.files.values())
    assert b"acme" not in b"".join(store.files.values())
    assert request["promptChars"] == 16
    assert request["durationMs"] == 250
    assert request["guardrails"] == {"max-tokens": "pass"}
    assert request["promptTokens"] == 4
    assert feedback["type"] == "feedback"
    assert feedback["score"] == 0.5
    assert feedback["correctOutputChars"] == 20


def test_with_store_text_messages_and_answers_are_kept() -> None:
    store = LogStoreDouble()
    log = a_log(store, store_text=True)
    log.start()
    log.record_exchange(an_exchange(), now=1001)
    log.record_feedback("gr-0123456789-aa", None, "better")
    log.close()

    request, feedback = records(store)
    assert request["messages"] == [{"role": "user", "content": "my secret prompt"}]
    assert request["answer"] == "my secret answer"
    assert feedback["correctOutput"] == "better"


def test_a_file_is_named_by_release_day_revision_and_process() -> None:
    store = LogStoreDouble()
    log = a_log(store)
    log.start()
    log.record_exchange(an_exchange(), now=1001)
    log.close()

    (name,) = store.files
    assert name.startswith("logs/ml/shop/2026-01-31/0123456789-")
    assert name.endswith("-000001.jsonl")


@pytest.mark.parametrize(("rate", "kept"), [(0.0, 0), (1.0, 20)])
def test_the_sample_rate_is_a_share_of_the_requests(rate: float, kept: int) -> None:
    store = LogStoreDouble()
    log = a_log(store, sample_rate=rate)
    log.start()
    for _ in range(20):
        log.record_exchange(an_exchange(), now=1001)
    log.close()

    assert len(records(store)) == kept


def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "MAX_QUEUED", 2)
    dropped = Dropped()
    log = a_log(LogStoreDouble(), dropped)
    for _ in range(5):
        log.record_exchange(an_exchange(), now=1001)

    assert dropped.count == 3
    log.close(timeout_s=0.01)


def test_a_store_that_is_down_costs_records_and_nothing_else() -> None:
    store, dropped = LogStoreDouble(), Dropped()
    store.is_broken = True
    log = a_log(store, dropped)
    log.start()
    for _ in range(3):
        log.record_exchange(an_exchange(), now=1001)
    log.close()

    assert dropped.count == 3


def test_many_records_are_written_as_several_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "FLUSH_RECORDS", 2)
    store = LogStoreDouble()
    log = a_log(store)
    for _ in range(5):
        log.record_exchange(an_exchange(), now=1001)
    log.start()
    log.close()

    assert len(store.files) == 3
    assert len(records(store)) == 5
