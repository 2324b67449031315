"""A watch of our own: streamed lists, pages where there are none, versions to go on from, and what breaks it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from graft_core.errors import Forbidden, GraftError, InvalidInput, NotReady
from graft_operator.cluster.faults import Expired
from graft_operator.cluster.transport import Request
from graft_operator.cluster.watch import Watch
from graft_operator.ports import FINE_TUNE_JOBS, JOBS, Json

Told = tuple[str | None, str]


class ScriptedTransport:
    """A double: each stream and each page is the next of a script; at its end the watch is ended."""

    def __init__(self, *answers: "bytes | Json | GraftError | Sequence[bytes]") -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []

    async def stream(self, request: Request, silence_s: float) -> AsyncGenerator[bytes]:
        assert silence_s == 70.0
        self.asked.append(dict(request.query))
        answer = self._next()
        chunks = [answer] if isinstance(answer, bytes) else answer
        assert not isinstance(chunks, dict)
        for chunk in chunks:
            yield chunk

    async def send(self, request: Request) -> Json:
        self.asked.append(dict(request.query))
        answer = self._next()
        assert isinstance(answer, dict)
        return answer

    def _next(self) -> "bytes | Json | Sequence[bytes]":
        if not self.answers:
            raise asyncio.CancelledError
        answer = self.answers.pop(0)
        if isinstance(answer, GraftError):
            raise answer
        return answer


def event(kind: str, name: str, version: int, **metadata: Any) -> bytes:
    meta = {"name": name, "resourceVersion": str(version), **metadata}
    return json.dumps({"type": kind, "object": {"kind": "FineTuneJob", "metadata": meta}}).encode() + b"\n"


LISTED = event("BOOKMARK", "", 10, annotations={"k8s.io/initial-events-end": "true"})
GONE = json.dumps({"type": "ERROR", "object": {"code": 410, "message": "too old"}}).encode() + b"\n"
BROKEN = json.dumps({"type": "ERROR", "object": {"code": 500, "message": "etcd"}}).encode() + b"\n"


async def run(
    transport: ScriptedTransport, monkeypatch: pytest.MonkeyPatch, labels: str = ""
) -> tuple[list[Told], list[float], int]:
    """Run a watch to its script's end; return what it told, how long it waited, and how often it said that it broke."""
    told: list[Told] = []
    waits: list[float] = []
    broken: list[None] = []

    def take(kind: str | None, body: Json) -> None:
        told.append((kind, body["metadata"]["name"]))

    async def wait(seconds: float) -> None:
        if seconds:
            waits.append(seconds)

    monkeypatch.setattr("graft_operator.cluster.watch.asyncio.sleep", wait)
    monkeypatch.setattr("graft_operator.cluster.watch.random.uniform", lambda low, high: high)
    resource = JOBS if labels else FINE_TUNE_JOBS
    watch = Watch(transport, resource, "", take, labels=labels, page=2, broke=lambda: broken.append(None))
    with pytest.raises(asyncio.CancelledError):
        await watch.run()
    return told, waits, len(broken)


async def test_a_streamed_list_is_told_as_a_list_and_what_follows_as_it_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = (
        event("ADDED", "a", 7) + event("ADDED", "b", 3) + LISTED + event("ADDED", "c", 11) + event("DELETED", "a", 12)
    )
    transport = ScriptedTransport([stream[:40], stream[40:41], stream[41:]], b"")
    told, _, broken = await run(transport, monkeypatch, "graft.dev/uid")
    assert told == [(None, "a"), (None, "b"), ("ADDED", "c"), ("DELETED", "a")]
    first, again, _ = transport.asked
    assert first["sendInitialEvents"] == "true"
    assert first["labelSelector"] == again["labelSelector"] == "graft.dev/uid"
    assert "resourceVersion" not in first
    assert (again["resourceVersion"], "sendInitialEvents" in again) == ("12", False)
    assert broken == 0


async def test_bookmarks_move_the_version_on(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = ScriptedTransport(LISTED + event("BOOKMARK", "", 30), b"")
    await run(transport, monkeypatch)
    assert transport.asked[1]["resourceVersion"] == "30"


async def test_a_list_that_breaks_off_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = ScriptedTransport(event("ADDED", "a", 7), event("ADDED", "a", 7) + LISTED)
    told, _, _ = await run(transport, monkeypatch)
    assert told == [(None, "a"), (None, "a")]
    assert [query.get("sendInitialEvents") for query in transport.asked] == ["true", "true", None]


async def test_a_server_without_streamed_lists_is_asked_for_pages_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = InvalidInput("sendInitialEvents is forbidden", reason="Invalid")
    pages: list[Json] = [
        {"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]},
    ]
    transport = ScriptedTransport(refusal, *pages, event("MODIFIED", "a", 11), GONE, *pages, b"")
    told, _, broken = await run(transport, monkeypatch)
    assert told == [(None, "a"), (None, "b"), ("MODIFIED", "a"), (None, "a"), (None, "b")]
    assert [query.get("continue") or query.get("resourceVersion") or query.get("limit") for query in transport.asked] == [
        None, "2", "more", "9", "11", "2", "more", "9", "9",
    ]  # fmt: skip
    assert broken == 0


@pytest.mark.parametrize(
    ("fault", "goes_on"),
    [
        (GONE, None),
        (Expired("too old"), None),
        (BROKEN, None),
        (b"{not json\n", None),
        (b"[]\n", None),
        (b'{"type": "MODIFIED", "object": {"metadata": {}}}\n', None),
        (Forbidden("no right to watch"), None),
        (NotReady("no answer"), "10"),
    ],
    ids=["410", "410 at once", "an error", "malformed", "no event", "no object", "forbidden", "cut"],
)
async def test_what_breaks_a_watch_means_a_new_list_and_a_broken_connection_goes_on(
    fault: "bytes | GraftError", goes_on: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = ScriptedTransport(LISTED, fault, LISTED)
    _, _, broken = await run(transport, monkeypatch)
    assert transport.asked[2].get("resourceVersion") == goes_on
    assert broken == (0 if fault is GONE or isinstance(fault, Expired) else 1)


async def test_a_server_that_refuses_is_asked_ever_more_seldom_and_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[GraftError] = [NotReady("busy", retry_after_s=0) for _ in range(8)]
    transport = ScriptedTransport(
        *faults,
        NotReady("later", retry_after_s=77),
        LISTED + event("ADDED", "a", 11),
        NotReady("busy", retry_after_s=0),
    )
    _, waits, broken = await run(transport, monkeypatch)
    assert waits == [0.5, 1, 2, 4, 8, 10, 10, 10, 77, 0.1, 0.5]
    assert broken == 10


async def test_versions_that_are_too_old_again_and_again_are_no_reason_for_a_storm_of_lists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport = ScriptedTransport(
        NotReady("gone", retry_after_s=0), *[LISTED + GONE] * 8, LISTED + event("ADDED", "a", 11) + GONE
    )
    _, waits, broken = await run(transport, monkeypatch)
    assert waits == pytest.approx([0.5, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 0.1])
    assert broken == 1


async def test_a_resource_that_is_not_served_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    unserved = InvalidInput("404 page not found", reason="NotFound")
    transport = ScriptedTransport(unserved, unserved, event("ADDED", "a", 7) + LISTED)
    told, waits, broken = await run(transport, monkeypatch)
    assert told == [(None, "a")]
    assert waits == [2.0, 2.0, 0.1]
    assert broken == 0


async def test_a_line_without_an_end_is_no_reason_to_take_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft_operator.cluster.watch.MAX_LINE", 100)
    transport = ScriptedTransport([LISTED, b"x" * 60, b"x" * 60], LISTED)
    _, _, broken = await run(transport, monkeypatch)
    assert broken == 1


def test_an_empty_line_is_no_event() -> None:
    told: list[Told] = []
    Watch(ScriptedTransport(), JOBS, "ml", lambda kind, body: told.append((kind, str(body))))._read(b" ")
    assert not told
