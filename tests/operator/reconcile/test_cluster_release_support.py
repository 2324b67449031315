"""Every field of a ModelRelease is either used on a cluster or refused by name."""

from typing import Any

import pytest

from graft_core.api.base import SecretKeyRef, SecretRef
from graft_core.api.conditions import find_condition
from graft_core.api.v1alpha1.modelrelease import ModelReleaseSpec
from graft_operator.reconcile.cluster_release_support import CLUSTER_MODELRELEASE, ON_CLUSTER
from graft_operator.reconcile.decision import CreateArm
from graft_operator.reconcile.modelrelease import decide_modelrelease
from graft_operator.reconcile.support import find_refusals
from graft_operator.render.kube.engine_server import BaseModel
from graft_operator.render.kube.http_route import GatewayDefaults, render_route
from graft_operator.render.kube.predictor_pod import ArmModel, PodAccess, PredictorDefaults
from graft_operator.render.kube.record import render_record
from tests.builders import BASE_REVISION, NOW, a_release
from tests.operator.reconcile.fields import covering, document, leaves, merged
from tests.operator.reconcile.views import a_view

KEY = {"name": "creds", "key": "token"}

REFUSED: dict[str, Any] = {
    "spec.model.fineTuneJobSelector": {"matchLabels": {"app": "shop"}},
    "spec.model.base": {"id": "Qwen/Qwen2.5-0.5B", "revision": "0" * 40},
    "spec.model.task": {"type": "chat"},
    "spec.cache.exact?.redis": {"secretRef": KEY},
    "spec.cache.semantic": {"milvus": {"uri": "http://milvus:19530"}, "embeddingModel": {"id": "e5-small"}},
    "spec.guardrails.input[].entities": ["EMAIL"],
    "spec.guardrails.output[].entities": ["EMAIL"],
    "spec.routing": {"rules": []},
    "spec.rollout.shadow": {"percent": 10},
    "spec.rollout.stickyHeader": "x-user-id",
    "spec.rollout.analysis.confidence": "0.95",
}
VALUES: dict[str, Any] = {
    "spec.engine.type": "openai",
    "spec.guardrails.input[].type": "prompt-injection",
    "spec.guardrails.input[].action": "redact",
    "spec.guardrails.output[].type": "pii",
    "spec.guardrails.output[].action": "redact",
    "spec.requestLog": {"uri": "s3://log/a/", "storeText": True},
    "spec.deletionPolicy": "Orphan",
    "spec.model.adapter?.uri": "file:///store/a/",
    "spec.requestLog?.uri": "file:///log/",
    "spec.predictor.replicas?.min": 0,
}
NEEDED: dict[str, dict[str, Any]] = {
    "spec.guardrails.input[].entities": {"guardrails": {"input": [{"type": "pii"}]}},
    "spec.guardrails.input[].action": {"guardrails": {"input": [{"type": "max-tokens", "max": 5}]}},
    "spec.guardrails.output[].entities": {"guardrails": {"output": [{"type": "pii"}]}},
    "spec.guardrails.output[].action": {"guardrails": {"output": [{"type": "json-schema"}]}},
    "spec.model.adapter?.uri": {"model": {"fineTuneJobRef": None, "adapter": {"digest": "sha256:" + "9" * 64}}},
}
SERVER = {"engine": {"type": "vllm", "image": "e@sha256:" + "3" * 64}}

POD: dict[str, Any] = {
    "spec.engine.type": "vllm",
    "spec.engine.args": ["--num-beams=2"],
    "spec.engine.env": [{"name": "A", "value": "b"}],
    "spec.engine.resources.gpus": 1,
    "spec.engine.image": "f@sha256:" + "4" * 64,
    "spec.engine.quantize": "fp8",
    "spec.engine.resources.memory": "48Gi",
    "spec.predictor.replicas": {"min": 2, "max": 3},
    "spec.predictor.resources": {"cpu": "3", "memory": "3Gi"},
    "spec.predictor.timeoutSeconds": 77,
    "spec.predictor.maxConcurrency": 7,
    "spec.cache.memory": {"maxEntries": 5},
    "spec.cache.exact.ttlSeconds": 60,
    "spec.cache.tenantHeader": "x-tenant",
    "spec.cache.cacheable": {"maxTemperature": "0.5"},
    "spec.guardrails.input": [{"type": "max-tokens", "max": 5}],
    "spec.guardrails.output": [{"type": "json-schema", "action": "repair", "maxRepairs": 2}],
    "spec.guardrails.onError": "open",
    "spec.requestLog": {"uri": "s3://log/b/", "sampleRate": "0.5", "redactPii": False, "storeText": True},
}
"""Fields that reach an arm's recipe; those of a server beside the predictor are tried with one."""


def recipe_of(spec: dict[str, Any]) -> dict[str, Any]:
    release = a_release(spec)
    log = release.spec.request_log
    access = PodAccess(SecretRef(name="lake"), SecretKeyRef(name="hub", key="t"), log.secret_ref if log else None)
    model = ArmModel("b" * 10, "s3://lake/a/", "sha256:" + "b" * 64, BaseModel("Qwen/Q", BASE_REVISION, 16))
    defaults = PredictorDefaults(image="p@sha256:" + "1" * 64)
    return render_record(release, model, access=access, defaults=defaults, is_knative=False)["data"]


def test_every_field_is_in_exactly_one_of_used_and_refused() -> None:
    wrong = {
        leaf: (used, refused)
        for leaf in leaves(ModelReleaseSpec)
        for used, refused in [covering(CLUSTER_MODELRELEASE, leaf)]
        if len(used) + len(refused) != 1
    }
    assert wrong == {}


def test_the_tables_name_no_field_that_is_not_there() -> None:
    known = list(leaves(ModelReleaseSpec))
    support = CLUSTER_MODELRELEASE
    for path in (*support.used, *support.refused, *(rule.path.removesuffix("[]") for rule in support.values)):
        plain = path.replace("?", "")
        assert any(leaf == plain or leaf.startswith((plain + ".", plain + "[].")) for leaf in known), path


def test_every_refused_field_and_value_has_a_sample() -> None:
    assert set(REFUSED) == set(CLUSTER_MODELRELEASE.refused)
    assert set(VALUES) == {rule.path for rule in CLUSTER_MODELRELEASE.values}


@pytest.mark.parametrize("path", [*REFUSED, *VALUES])
def test_a_field_that_is_not_supported_is_refused_by_its_name(path: str) -> None:
    change = document(path, VALUES[path] if path in VALUES else REFUSED[path])
    spec = merged(NEEDED.get(path, {}), change)
    decision = decide_modelrelease(a_view(spec, capabilities=ON_CLUSTER), NOW)
    accepted = find_condition(decision.status.conditions, "Accepted")
    assert accepted is not None
    assert (accepted.status, accepted.reason) == ("False", "NotSupported")
    assert path.replace("?", "").replace("[]", "[0]") in accepted.message
    assert not any(isinstance(action, CreateArm) for action in decision.actions)


@pytest.mark.parametrize("path", POD)
def test_a_field_of_an_arm_changes_its_recipe(path: str) -> None:
    is_server = path in {"spec.engine.image", "spec.engine.quantize", "spec.engine.resources.memory"}
    base = SERVER if is_server else {}
    change = SERVER if path == "spec.engine.type" else document(path, POD[path])
    assert find_refusals(a_release(merged(base, change)).spec, CLUSTER_MODELRELEASE) == ()
    assert recipe_of(merged(base, change)) != recipe_of(base)


def test_the_secret_of_the_request_log_reaches_the_pod_and_not_the_config() -> None:
    plain = {"requestLog": {"uri": "s3://log/b/"}}
    named = merged(plain, {"requestLog": {"secretRef": {"name": "log"}}})
    assert recipe_of(named)["config.json"] == recipe_of(plain)["config.json"]
    assert '"name": "log"' in recipe_of(named)["recipe.json"]


def test_the_timeout_reaches_our_own_route() -> None:
    route = render_route(a_release({"predictor": {"timeoutSeconds": 77}}), {"a": 100}, GatewayDefaults())
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "82s"}


def test_what_the_shell_refuses_besides_is_told_in_the_same_place() -> None:
    refusal = find_refusals(a_release({"rollout": {"stickyHeader": "x-user-id"}}).spec, CLUSTER_MODELRELEASE)
    decision = decide_modelrelease(a_view(refusals=refusal), NOW)
    accepted = find_condition(decision.status.conditions, "Accepted")
    assert accepted is not None
    assert accepted.status == "False"
    assert "spec.rollout.stickyHeader" in accepted.message
