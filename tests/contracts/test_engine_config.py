"""What a predictor is told of its engine: nothing that would be ignored, and no server that could be another adapter's."""

from typing import Any

import pytest
from pydantic import ValidationError

from graft_core.contracts.predictor_config import EngineConfig, PredictorConfig, short_digest

SERVER: dict[str, Any] = {"url": "http://127.0.0.1:8000", "model": "base-bbbbbbbbbbbb", "adapter": "shop-aaaaaaaaaaaa"}


def test_a_config_without_server_is_written_as_before() -> None:
    assert EngineConfig().to_json() == '{"type":"transformers","gpus":0,"args":[]}'


@pytest.mark.parametrize("kind", ["tgi", "vllm"])
def test_a_server_has_defaults_for_every_wait(kind: str) -> None:
    server = EngineConfig.model_validate({"type": kind, "server": SERVER}).server

    assert server is not None
    assert (server.connect_seconds, server.first_token_seconds, server.inter_token_seconds) == (2, 60, 20)


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ({"type": "tgi"}, "needs server"),
        ({"server": SERVER}, "server goes with type tgi or vllm"),
        ({"type": "vllm", "server": SERVER, "args": ["--num-beams=2"]}, "belong to type transformers"),
        ({"type": "vllm", "server": SERVER, "gpus": 1}, "belong to type transformers"),
        ({"type": "sglang", "server": SERVER}, "type"),
        ({"type": "tgi", "server": {**SERVER, "url": "http://10.0.0.1:80"}}, "server.url"),
        ({"type": "tgi", "server": {**SERVER, "url": "https://localhost:80"}}, "server.url"),
        ({"type": "tgi", "server": {**SERVER, "url": "http://127.0.0.1:80@evil"}}, "server.url"),
        ({"type": "tgi", "server": {**SERVER, "adapter": "a=b@c"}}, "server.adapter"),
        ({"type": "tgi", "server": {**SERVER, "startupSeconds": 0}}, "server.startupSeconds"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(engine: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        EngineConfig.model_validate(engine)


def test_the_adapters_name_holds_its_digest() -> None:
    raw: dict[str, Any] = {
        "release": {"namespace": "ml", "name": "shop", "uid": "u"},
        "revision": "0123456789",
        "adapter": {"uri": "file:///a/", "digest": "sha256:" + "a" * 64},
        "engine": {"type": "tgi", "server": SERVER},
    }
    PredictorConfig.model_validate(raw)

    with pytest.raises(ValidationError, match="'shop-aaaaaaaaaaaa' does not end with 'cccccccccccc'"):
        PredictorConfig.model_validate({**raw, "adapter": {"uri": "file:///a/", "digest": "sha256:" + "c" * 64}})


def test_commits_and_digests_are_shortened_alike() -> None:
    assert short_digest("sha256:" + "a" * 64) == "a" * 12
    assert short_digest("a09a35458c702b33eeacc393d103063234e8bc28") == "a09a35458c70"
