"""Probes that say what is wrong, kopf's settings, and a login with the operator's own credentials."""

import itertools
from pathlib import Path

import aiohttp
import kopf
import pytest

from graft_operator.cluster.credentials import Credentials
from graft_operator.handlers.children import WATCHED
from graft_operator.handlers.probes import Probes
from graft_operator.handlers.runtime import Runtime
from graft_operator.handlers.startup import Backoffs, NoDiffs, configure, to_connection
from graft_operator.settings import OperatorSettings


@pytest.mark.loopback
async def test_probes_answer_with_what_is_wrong() -> None:
    probes = Probes(lambda: "the queue's loop does not turn", lambda: "", lambda: b"graft_x 1\n")
    await probes.start("127.0.0.1", 0)
    found: dict[str, tuple[int, str]] = {}
    async with aiohttp.ClientSession() as session:
        for path in ("healthz", "readyz", "metrics", "else"):
            async with session.get(f"http://127.0.0.1:{probes.port}/{path}") as answer:
                found[path] = answer.status, await answer.text()
    await probes.stop()
    assert found["healthz"] == (503, "the queue's loop does not turn\n")
    assert found["readyz"] == (200, "ok\n")
    assert found["metrics"] == (200, "graft_x 1\n")
    assert found["else"][0] == 404


def test_kopf_watches_and_does_nothing_else() -> None:
    settings = kopf.OperatorSettings()
    configure(settings, 500)
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.watching.chunk_size == 500
    assert settings.watching.inactivity_timeout == 70
    assert set(settings.watching.label_selectors.values()) == {"graft.dev/uid"}
    assert len(settings.watching.label_selectors) == len(WATCHED)
    diffs = NoDiffs()
    assert diffs.fetch(body=kopf.Body({})) is None
    assert diffs.build(body=kopf.Body({"metadata": {}})) == {}


def test_waits_between_tries_grow_to_a_bound_and_never_end() -> None:
    waits = list(itertools.islice(Backoffs(), 40))
    assert 0.25 <= waits[0] <= 0.5
    assert all(15 <= wait <= 30 for wait in waits[10:])
    assert waits != list(itertools.islice(Backoffs(), 40))


def test_kopf_logs_in_as_the_operator_does() -> None:
    found = to_connection(Credentials("https://k:6443", "ml", token="t"))
    assert (found.server, found.token, found.default_namespace) == ("https://k:6443", "t", "ml")
    assert found.as_http_headers() == {"Authorization": "Bearer t"}


async def test_a_loop_that_ended_or_hangs_is_an_illness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime = Runtime(OperatorSettings(kubeconfig=tmp_path / "config"), {})
    assert runtime._find_illness() == ""
    assert runtime._find_unreadiness() == "the API server has not answered yet"
    runtime._resync.is_watch_fresh = False
    assert runtime._find_illness() == "a watch tells nothing any more"
    runtime._dispatcher.turned_at -= 31
    assert runtime._find_illness() == "the queue's loop does not turn"
