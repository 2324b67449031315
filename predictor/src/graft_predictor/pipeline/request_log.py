"""The record of what was asked, as JSONL files in object storage: for review, and for the next training.

Requests never wait for it. Records go through a bounded queue to a thread that writes a file when enough have gathered, when some time
has passed, and at the end. What does not fit is dropped and counted. File names never repeat, so nothing is overwritten:
`<uri>/<namespace>/<name>/<date>/<revision>-<start of the process>-<number>.jsonl`.
"""

import hashlib
import queue
import random
import secrets
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import orjson

from graft_core.clock import Clock, to_rfc3339
from graft_core.contracts.base import ObjectRef
from graft_core.errors import GraftError
from graft_core.tasks.messages import to_dicts
from graft_core.telemetry.logs import get_log
from graft_predictor.pipeline.exchange import Exchange

__all__ = ["LogStore", "RequestLog"]

MAX_QUEUED: Final = 10_000
FLUSH_RECORDS: Final = 1000
FLUSH_BYTES: Final = 4 * 1024 * 1024
FLUSH_AFTER_S: Final = 10.0
"""A file is at most this much behind."""
SCHEMA_VERSION: Final = "v1"

_log = get_log(__name__)


class LogStore(Protocol):
    """The one verb of object storage that is needed."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write a file that is not there yet."""
        ...


class RequestLog:
    """Gathers records and writes them."""

    def __init__(
        self,
        store: LogStore,
        prefix: str,
        *,
        release: ObjectRef,
        revision: str,
        sample_rate: float,
        store_text: bool,
        clock: Clock,
        on_dropped: Callable[[int], None],
    ) -> None:
        """Start nothing yet.

        Args:
            store: Where the files go.
            prefix: Their folder in it.
            release: Goes into names and records.
            revision: The arm.
            sample_rate: Share of the requests; feedback is always kept.
            store_text: False: lengths, hashes and verdicts only.
            clock: For the records' time.
            on_dropped: Called with the number of records that are lost.
        """
        self._store = store
        self._folder = "/".join(part for part in (prefix, release.namespace, release.name) if part)
        self._release = release
        self._revision = revision
        self._sample_rate = sample_rate
        self._store_text = store_text
        self._clock = clock
        self._on_dropped = on_dropped
        self._boot = secrets.token_hex(6)
        self._files = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(MAX_QUEUED)
        self._thread = threading.Thread(target=self._run, name="graft-request-log", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def record_exchange(self, exchange: Exchange, *, now: float) -> None:
        """Queue the record of a request that has ended, if it is drawn.

        Args:
            exchange: Finished.
            now: Monotonic seconds.
        """
        if self._sample_rate < 1 and random.random() >= self._sample_rate:
            return
        usage = exchange.usage
        prompt = "\n\n".join(message.content for message in exchange.prompt)
        record: dict[str, Any] = {
            "type": "request",
            "requestId": exchange.request_id,
            "operation": exchange.operation,
            "stream": exchange.is_stream,
            "tenant": exchange.tenant_hash,
            "outcome": exchange.outcome,
            "cache": exchange.cache,
            "finishReason": exchange.finish_reason,
            "durationMs": round((now - exchange.started) * 1000, 3),
            "promptTokens": usage.prompt_tokens if usage else None,
            "completionTokens": usage.completion_tokens if usage else None,
            "guardrails": {verdict.rule: verdict.outcome for verdict in exchange.verdicts},
            "traceId": exchange.trace_id,
            **_text_facts("prompt", prompt),
            **_text_facts("answer", exchange.answer),
        }
        if self._store_text:
            record["messages"] = to_dicts(exchange.prompt)
            record["answer"] = exchange.answer
        self._put(record)

    def record_feedback(self, request_id: str, score: float | None, correct_output: str | None) -> None:
        """Queue a user's word on an answer."""
        record: dict[str, Any] = {"type": "feedback", "requestId": request_id, "score": score}
        if correct_output is not None:
            record |= _text_facts("correctOutput", correct_output)
            if self._store_text:
                record["correctOutput"] = correct_output
        self._put(record)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is queued."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _put(self, record: Mapping[str, Any]) -> None:
        head = {
            "schemaVersion": SCHEMA_VERSION,
            "at": to_rfc3339(self._clock.now()),
            "release": f"{self._release.namespace}/{self._release.name}",
            "revision": self._revision,
        }
        try:
            self._queue.put_nowait(orjson.dumps({**head, **record}, option=orjson.OPT_APPEND_NEWLINE))
        except queue.Full:
            self._on_dropped(1)

    def _run(self) -> None:
        lines: list[bytes] = []
        size = 0
        is_open = True
        deadline = self._clock.monotonic() + FLUSH_AFTER_S
        while is_open:
            try:
                line = self._queue.get(timeout=max(0.05, deadline - self._clock.monotonic()))
            except queue.Empty:
                line = b""
            if line is None:
                is_open = False
            elif line:
                lines.append(line)
                size += len(line)
            is_full = len(lines) >= FLUSH_RECORDS or size >= FLUSH_BYTES
            if is_full or not is_open or self._clock.monotonic() >= deadline:
                if lines:
                    self._write(lines)
                    lines, size = [], 0
                deadline = self._clock.monotonic() + FLUSH_AFTER_S

    def _write(self, lines: list[bytes]) -> None:
        self._files += 1
        day = self._clock.now().date().isoformat()
        key = f"{self._folder}/{day}/{self._revision}-{self._boot}-{self._files:06d}.jsonl"
        try:
            self._store.put_if_absent(key, b"".join(lines))
        except (GraftError, OSError) as err:
            self._on_dropped(len(lines))
            _log.warning("request_log_failed", lines=len(lines), error=type(err).__name__)


def _text_facts(name: str, text: str) -> dict[str, object]:
    return {f"{name}Chars": len(text), f"{name}Sha256": hashlib.sha256(text.encode()).hexdigest() if text else None}
