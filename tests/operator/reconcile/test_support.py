"""Every field of both kinds is either used or refused by name, never accepted and ignored."""

from typing import Any

import pytest
from pydantic import BaseModel

from graft_core.api.conditions import find_condition
from graft_core.api.v1alpha1.finetunejob import FineTuneJobSpec
from graft_core.api.v1alpha1.modelrelease import ModelReleaseSpec
from graft_operator.reconcile.decision import CreateArm, CreateChild
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.modelrelease import decide_modelrelease
from graft_operator.reconcile.support import LOCAL_SHELL, KindSupport, find_refusals
from tests.builders import NOW, a_finetunejob, a_release
from tests.operator.reconcile.fields import covering, document, leaves, merged
from tests.operator.reconcile.views import a_view, seen

KINDS = [
    pytest.param(FineTuneJobSpec, LOCAL_SHELL.finetunejob, id="FineTuneJob"),
    pytest.param(ModelReleaseSpec, LOCAL_SHELL.modelrelease, id="ModelRelease"),
]

SECRET = {"name": "creds"}
KEY = {"name": "creds", "key": "token"}

JOB_REFUSED: dict[str, Any] = {
    "spec.task.sqlPolicy": {"allowedVerbs": ["SELECT"]},
    "spec.model.tokenSecretRef": KEY,
    "spec.dataset.dedupe.near": {"threshold": "0.8"},
    "spec.dataset.secretRef": SECRET,
    "spec.method.quantization": {"type": "nf4"},
    "spec.training.packing": True,
    "spec.training.report": {"tensorboard": True},
    "spec.sweep": {"parameters": {"epochs": ["1", "2"]}},
    "spec.evaluation.modelRelease": "shop",
    "spec.evaluation.judge": {"url": "http://judge/v1", "model": "gpt"},
    "spec.output.secretRef": SECRET,
    "spec.output.merge": True,
    "spec.resources.gpuResource": "nvidia.com/gpu",
    "spec.resources.nodes": 2,
    "spec.resources.shm": "1Gi",
    "spec.runtime.engine": "TrainJob",
    "spec.runtime.image": "ghcr.io/graft-dev/trainer@sha256:" + "0" * 64,
    "spec.runtime.queueName": "queue",
    "spec.runtime.priorityClassName": "batch",
    "spec.runtime.nodeSelector": {"gpu": "yes"},
    "spec.runtime.tolerations": [{"key": "gpu"}],
}
JOB_VALUES: dict[str, Any] = {
    "spec.model.id": "s3://bucket/model",
    "spec.dataset.train[]": "hf://data/set",
    "spec.dataset.validation[]": "pvc://claim/data.jsonl",
    "spec.dataset.test[]": "hf://data/set",
    "spec.dataset.format": "preference",
    "spec.method.objective": "dpo",
    "spec.method.adapter.type": "dora",
    "spec.evaluation.gates[].versus": "modelRelease",
    "spec.resources.gpus": 2,
}
RELEASE_REFUSED: dict[str, Any] = {
    "spec.deploymentMode": "Standard",
    "spec.model.fineTuneJobSelector": {"matchLabels": {"app": "shop"}},
    "spec.model.base": {"id": "Qwen/Qwen2.5-0.5B", "revision": "0" * 40},
    "spec.model.task": {"type": "chat"},
    "spec.engine.image": "ghcr.io/graft-dev/tgi@sha256:" + "0" * 64,
    "spec.engine.quantize": "nf4",
    "spec.engine.resources.memory": "1Gi",
    "spec.predictor.replicas": {"min": 1, "max": 2},
    "spec.cache.exact?.redis": {"secretRef": KEY},
    "spec.cache.semantic": {"milvus": {"uri": "http://milvus:19530"}, "embeddingModel": {"id": "e5-small"}},
    "spec.guardrails.input[].entities": ["EMAIL"],
    "spec.guardrails.output[].entities": ["EMAIL"],
    "spec.routing": {"rules": []},
    "spec.requestLog?.secretRef": SECRET,
    "spec.rollout.shadow": {"percent": 10},
    "spec.rollout.analysis.source?.prometheus": {"url": "http://prometheus:9090"},
    "spec.rollout.analysis.confidence": "0.95",
}
RELEASE_VALUES: dict[str, Any] = {
    "spec.engine.type": "vllm",
    "spec.engine.resources.gpus": 2,
    "spec.guardrails.input[].type": "prompt-injection",
    "spec.guardrails.input[].action": "redact",
    "spec.guardrails.output[].type": "pii",
    "spec.guardrails.output[].action": "redact",
    "spec.requestLog": {"uri": "file:///log/", "storeText": True},
    "spec.deletionPolicy": "Orphan",
}
NEEDED: dict[str, dict[str, Any]] = {
    "spec.requestLog?.secretRef": {"requestLog": {"uri": "file:///log/"}},
    "spec.guardrails.input[].entities": {"guardrails": {"input": [{"type": "pii"}]}},
    "spec.guardrails.input[].action": {"guardrails": {"input": [{"type": "max-tokens", "max": 5}]}},
    "spec.guardrails.output[].entities": {"guardrails": {"output": [{"type": "pii"}]}},
    "spec.guardrails.output[].action": {"guardrails": {"output": [{"type": "json-schema"}]}},
    "spec.evaluation.gates[].versus": {"evaluation": {"gates": [{"metric": "json_validity", "minDelta": "0.1"}]}},
}
"""What must stand around a field for the model to take it."""


@pytest.mark.parametrize(("model", "support"), KINDS)
def test_every_field_is_in_exactly_one_of_used_and_refused(model: type[BaseModel], support: KindSupport) -> None:
    wrong = {
        leaf: (used, refused)
        for leaf in leaves(model)
        for used, refused in [covering(support, leaf)]
        if len(used) + len(refused) != 1
    }
    assert wrong == {}


@pytest.mark.parametrize(("model", "support"), KINDS)
def test_the_tables_name_no_field_that_is_not_there(model: type[BaseModel], support: KindSupport) -> None:
    known = list(leaves(model))
    for path in (*support.used, *support.refused, *(rule.path.removesuffix("[]") for rule in support.values)):
        plain = path.replace("?", "")
        assert any(leaf == plain or leaf.startswith((plain + ".", plain + "[].")) for leaf in known), path


def test_every_refused_field_and_value_has_a_sample() -> None:
    job, release = LOCAL_SHELL.finetunejob, LOCAL_SHELL.modelrelease
    assert set(JOB_REFUSED) == set(job.refused)
    assert set(JOB_VALUES) == {rule.path for rule in job.values}
    assert set(RELEASE_REFUSED) == set(release.refused)
    assert set(RELEASE_VALUES) == {rule.path for rule in release.values}


def plain(path: str, *, is_value: bool) -> str:
    """Write a path as the message names it."""
    named = path.replace("?", "").replace("[]", "[0]")
    return named + ".storeText" if is_value and path == "spec.requestLog" else named


@pytest.mark.parametrize("path", [*JOB_REFUSED, *JOB_VALUES])
def test_a_job_with_a_field_that_is_not_supported_is_refused_by_its_name(path: str) -> None:
    is_value = path in JOB_VALUES
    change = document(path, JOB_VALUES[path] if is_value else JOB_REFUSED[path])
    spec = merged(NEEDED.get(path, {}), change)
    if path == "spec.model.id":
        spec["model"]["revision"] = None
    decision = decide_finetunejob(seen(a_finetunejob(spec)), NOW)
    accepted = find_condition(decision.status.conditions, "Accepted")
    assert accepted is not None
    assert (accepted.status, accepted.reason) == ("False", "NotSupported")
    assert plain(path, is_value=is_value) in accepted.message
    assert "is not supported in this version" in accepted.message
    assert not any(isinstance(action, CreateChild) for action in decision.actions)


@pytest.mark.parametrize("path", [*RELEASE_REFUSED, *RELEASE_VALUES])
def test_a_release_with_a_field_that_is_not_supported_is_refused_by_its_name(path: str) -> None:
    is_value = path in RELEASE_VALUES
    change = document(path, RELEASE_VALUES[path] if is_value else RELEASE_REFUSED[path])
    decision = decide_modelrelease(a_view(merged(NEEDED.get(path, {}), change)), NOW)
    accepted = find_condition(decision.status.conditions, "Accepted")
    assert accepted is not None
    assert (accepted.status, accepted.reason) == ("False", "NotSupported")
    assert plain(path, is_value=is_value) in accepted.message
    assert not any(isinstance(action, CreateArm) for action in decision.actions)


def test_a_field_that_is_set_to_its_default_is_as_good_as_unset() -> None:
    spec = {
        "output": {"merge": False},
        "resources": {"nodes": 1},
        "runtime": {"engine": "Job"},
        "training": {"packing": False},
    }
    assert find_refusals(a_finetunejob(spec).spec, LOCAL_SHELL.finetunejob) == ()


def test_stored_text_is_accepted_where_it_is_stored_as_it_is() -> None:
    spec = a_release({"requestLog": {"uri": "file:///log/", "storeText": True, "redactPii": False}}).spec
    assert find_refusals(spec, LOCAL_SHELL.modelrelease) == ()


def test_every_place_in_a_list_is_named() -> None:
    spec = a_finetunejob({"dataset": {"train": ["file:///a", "hf://words", "pvc://claim/d"]}}).spec
    paths = [refusal.path for refusal in find_refusals(spec, LOCAL_SHELL.finetunejob)]
    assert paths == ["spec.dataset.train[1]", "spec.dataset.train[2]"]
    assert find_refusals(spec, LOCAL_SHELL.finetunejob)[0].message == (
        "spec.dataset.train[1] 'hf://words' is not supported in this version; use s3:// or file:///"
    )


def test_another_shell_may_support_what_the_local_one_does_not() -> None:
    only = KindSupport(used=(), refused={"spec.sweep": None})
    assert find_refusals(a_finetunejob({"output": {"merge": True}}).spec, only) == ()
    swept = a_finetunejob({"sweep": {"parameters": {"epochs": ["1"]}}}).spec
    assert [refusal.path for refusal in find_refusals(swept, only)] == ["spec.sweep"]
