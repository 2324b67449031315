"""Row 63 of the list of bad input: what differs in a way that counts never shares an entry."""

from dataclasses import replace
from pathlib import Path

import pytest

from graft_core.tasks.messages import Message
from graft_predictor.caching.keys import answer_key, fingerprint
from graft_predictor.engines.base import GenerateRequest, Sampling
from tests.predictor.adapters.files import an_artifact
from tests.predictor.builders import a_config

BASE = GenerateRequest((Message("user", "hello"),), Sampling(temperature=0.5, seed=1))


def key(request: GenerateRequest = BASE, *, identity: str = "i", tenant: str | None = None) -> bytes:
    return answer_key(identity, tenant, request)


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, messages=(Message("user", "hello "),)),
        replace(BASE, messages=(Message("system", "s"), Message("user", "hello"))),
        replace(BASE, messages=(Message("user", "hel"), Message("assistant", "lo"))),
        replace(BASE, sampling=replace(BASE.sampling, temperature=0.6)),
        replace(BASE, sampling=replace(BASE.sampling, temperature=0.0)),
        replace(BASE, sampling=replace(BASE.sampling, top_p=0.9)),
        replace(BASE, sampling=replace(BASE.sampling, seed=2)),
        replace(BASE, sampling=replace(BASE.sampling, seed=None)),
        replace(BASE, sampling=replace(BASE.sampling, max_tokens=5)),
        replace(BASE, sampling=replace(BASE.sampling, stop=("a",))),
        replace(BASE, sampling=replace(BASE.sampling, stop=("a", "b"))),
    ],
)
def test_row_63_another_prompt_or_sampling_is_another_key(other: GenerateRequest) -> None:
    assert key(other) != key()


def test_row_63_another_tenant_or_identity_is_another_key() -> None:
    keys = {key(), key(tenant=""), key(tenant="a"), key(tenant="b"), key(identity="j")}

    assert len(keys) == 5


def test_greedy_requests_share_whatever_they_say_of_chance() -> None:
    greedy = replace(BASE, sampling=Sampling())

    assert key(greedy) == key(replace(BASE, sampling=Sampling(top_p=0.5, seed=9)))


def test_the_fingerprint_covers_all_that_an_answer_follows_from(tmp_path: Path) -> None:
    manifest = an_artifact(tmp_path / "one").manifest
    configs = [
        a_config(),
        a_config(revision="1111111111"),
        a_config(adapter={"uri": "file:///a/", "digest": "sha256:" + "c" * 64}),
        a_config(engine={"args": ["--num-beams=2"]}),
        a_config(guardrails={"input": [{"type": "max-tokens", "max": 3}]}),
    ]
    prints = [fingerprint(config, manifest) for config in configs]
    prints.append(fingerprint(a_config(), manifest.model_copy(update={"template_sha256": "d" * 64})))
    prints.append(
        fingerprint(a_config(), manifest.model_copy(update={"task": manifest.task.model_copy(update={"system": "s"})}))
    )

    assert len(set(prints)) == len(prints)
    assert fingerprint(a_config(timeoutSeconds=5), manifest) == prints[0]
