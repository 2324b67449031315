"""The real process, with the adapter's real tokenizer, and a server's double on another port."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from graft_core.contracts.predictor_config import short_digest
from tests.predictor.app.process import READY_S, Process
from tests.predictor.doubles.servers import ServerDouble
from tests.predictor.doubles.tgi import TgiDouble
from tests.predictor.doubles.vllm import VllmDouble
from tests.predictor.models import Artifact, make_causal

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

ANSWER = "xin chào, áo khoác"
MAX_RSS_MB = 220
"""It had 147 MB, and the same predictor with torch in process 850 MB (x86-64, Python 3.11)."""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_causal(tmp_path_factory.mktemp("causal"))


@pytest.fixture(params=[TgiDouble, VllmDouble], ids=["tgi", "vllm"])
def double(request: pytest.FixtureRequest, artifact: Artifact) -> Iterator[ServerDouble]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(artifact.folder)
    model, adapter = names(artifact)
    made: ServerDouble = request.param(tokenizer)
    if isinstance(made, TgiDouble):
        made.info["model_id"] = model
        made.adapters = {adapter}
    elif isinstance(made, VllmDouble):
        made.cards[0]["id"] = made.cards[1]["parent"] = model
        made.cards[1]["id"] = adapter
    made.answer = lambda _: [*tokenizer(ANSWER, add_special_tokens=False)["input_ids"], 5]  # <|end|>
    with made:
        yield made


def names(artifact: Artifact) -> tuple[str, str]:
    manifest = artifact.manifest
    return f"tiny-{short_digest(manifest.base_model.revision)}", f"shop-{short_digest(manifest.digest)}"


def a_process(artifact: Artifact, double: ServerDouble, root: Path) -> Process:
    model, adapter = names(artifact)
    kind = "tgi" if isinstance(double, TgiDouble) else "vllm"
    server = {"url": double.url, "model": model, "adapter": adapter}
    return Process(artifact, root, engine={"type": kind, "threads": 1, "server": server})


def rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_it_waits_says_why_answers_without_torch_and_drains(
    artifact: Artifact, double: ServerDouble, tmp_path: Path
) -> None:
    double.is_healthy = False
    with a_process(artifact, double, tmp_path) as process:
        waiting = wait_for_reason(process, "Unavailable")
        double.is_healthy = True
        process.wait_ready()
        answer = chat(process)
        maps = Path(f"/proc/{process.child.pid}/maps").read_text()
        rss = rss_mb(process.child.pid)
        leave_a_stream(process, double)
        lines = stream_through_sigterm(process)
        code = process.stop()

    assert "/health says HTTP 503" in waiting
    assert answer == ANSWER
    assert "torch" not in maps
    assert rss < MAX_RSS_MB
    assert lines[-1] == "data: [DONE]"
    assert code == 0
    assert ANSWER not in (tmp_path / "log.txt").read_text()


def wait_for_reason(process: Process, reason: str) -> str:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            response = httpx.get(f"{process.url}/v2/models/shop/ready", timeout=10)
            assert response.status_code == 503
            if response.json()["reason"] == reason:
                return str(response.json()["message"])
        time.sleep(0.1)  # noqa: TID251  # polls another process
    pytest.fail(f"never {reason}: " + (process.root / "log.txt").read_text()[-2000:])


def chat(process: Process) -> str:
    body = {"messages": [{"role": "user", "content": "tìm áo"}]}
    answer = httpx.post(f"{process.url}/v1/chat/completions", json=body, timeout=30).json()
    return str(answer["choices"][0]["message"]["content"])


def leave_a_stream(process: Process, double: ServerDouble) -> None:
    """Close the connection after the first token; the server's stream must be closed, too."""
    double.pause_s = 0.2
    body = {"messages": [{"role": "user", "content": "áo"}], "stream": True}
    with httpx.stream("POST", f"{process.url}/v1/chat/completions", json=body, timeout=30) as response:
        next(response.iter_lines())
    deadline = time.monotonic() + 10
    while not double.abandoned and time.monotonic() < deadline:
        time.sleep(0.05)  # noqa: TID251  # polls a thread
    assert double.abandoned == 1


def stream_through_sigterm(process: Process) -> list[str]:
    """Row 68: what is open goes on to its end."""
    body = {"messages": [{"role": "user", "content": "áo"}], "stream": True}
    with httpx.stream("POST", f"{process.url}/v1/chat/completions", json=body, timeout=30) as response:
        lines = response.iter_lines()
        next(lines)
        os.kill(process.child.pid, signal.SIGTERM)
        return [line for line in lines if line]
