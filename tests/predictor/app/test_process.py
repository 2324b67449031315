"""The real process on a real port: tiny real models, the stock openai client, signals and slow clients."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.predictor.app.process import READY_S, Process
from tests.predictor.models import make_causal, make_encoder

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    root = tmp_path_factory.mktemp("causal")
    with Process(make_causal(root), root, cache={"memory": {"maxEntries": 10}, "exact": {}}) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="module")
def client(causal: Process) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{causal.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_the_stock_client_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="shop", messages=[{"role": "user", "content": "xin chào"}], max_tokens=5
    )

    assert answer.id.startswith("gr-0123456789-")
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 5


def test_the_stock_client_streams(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="shop",
            messages=[{"role": "user", "content": "tìm áo"}],
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason in {"stop", "length"}
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


def test_the_stock_client_lists_and_is_told_of_errors(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["shop"]
    assert client.completions.create(model="shop", prompt="áo", max_tokens=2).object == "text_completion"
    with pytest.raises(openai.NotFoundError, match="is not served here"):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="shop", messages=[{"role": "user", "content": "x"}], n=2)
    assert caught.value.param == "n"


def test_kserves_own_routes_are_there(causal: Process) -> None:
    v1 = httpx.post(f"{causal.url}/v1/models/shop:predict", json={"instances": ["áo"]}, timeout=30)

    assert v1.status_code == 200
    assert len(v1.json()["predictions"]) == 1
    assert httpx.get(f"{causal.url}/v2/models/shop", timeout=10).json()["name"] == "shop"
    assert "graft_predictor_requests_total" in httpx.get(f"{causal.url}/metrics", timeout=10).text


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Drip: "])
def test_row_56_headers_that_never_end_are_given_up(causal: Process, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", causal.port), timeout=40) as connection:
        connection.sendall(sent)

        assert connection.recv(1) == b""


def test_an_encoder_classifies_and_sigterm_ends_it_in_order(tmp_path: Path) -> None:
    with Process(make_encoder(tmp_path), tmp_path, requestLog={"uri": f"file://{tmp_path}/log/"}) as process:
        process.wait_ready()
        answer = httpx.post(f"{process.url}/v1/classify", json={"input": "where is my order"}, timeout=30).json()
        code = process.stop()

    assert set(answer["scores"]) == {"billing", "delivery", "other"}
    assert code == 0
    assert len(list((tmp_path / "log").rglob("*.jsonl"))) == 1


def test_sigterm_lets_an_open_stream_end(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "áo"}], "stream": True, "max_tokens": 200, "stop": ["never"]}
    with Process(make_causal(tmp_path), tmp_path) as process:
        process.wait_ready()
        with httpx.stream("POST", f"{process.url}/v1/chat/completions", json=body, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            os.kill(process.child.pid, signal.SIGTERM)
            rest = [line for line in lines if line]
        code = process.stop()

    assert rest[-1] == "data: [DONE]"
    assert code == 0


def test_a_broken_adapter_is_told_at_the_readiness_address(tmp_path: Path) -> None:
    artifact = make_causal(tmp_path)
    (artifact.folder / "tokenizer_config.json").write_text("{}")
    deadline = time.monotonic() + READY_S
    body: dict[str, Any] = {}
    with Process(artifact, tmp_path) as process:
        while body.get("phase") != "Failed" and time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                body = httpx.get(f"{process.url}/readyz", timeout=10).json()
            time.sleep(0.2)  # noqa: TID251  # polls another process

    assert body["reason"] == "Corrupt"
    assert "tokenizer_config.json" in body["message"]
