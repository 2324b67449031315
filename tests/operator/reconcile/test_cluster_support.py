"""On a cluster too, every field of a FineTuneJob is either used or refused by name."""

from typing import Any

import pytest

from graft_core.api.conditions import find_condition
from graft_core.api.v1alpha1.finetunejob import FineTuneJobSpec
from graft_operator.reconcile.cluster_support import CLUSTER_FINETUNEJOB, finetunejob_support
from graft_operator.reconcile.decision import CreateChild
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.observed import ObservedFineTuneJob, Policy
from graft_operator.reconcile.support import LOCAL_SHELL, Capabilities, find_refusals
from graft_operator.render.kube.child import ChildPlan
from graft_operator.render.kube.config_map import render_request_config_map
from graft_operator.render.kube.job import render_job
from graft_operator.render.kube.pod import PodDefaults
from graft_operator.render.kube.train_job import render_train_job
from graft_operator.render.train_request import render_train_request
from tests.builders import NOW, a_finetunejob
from tests.operator.reconcile.fields import covering, document, leaves, merged
from tests.operator.reconcile.test_every_field import JOB, JOB_BASE, JOB_ONE_VALUE
from tests.operator.reconcile.test_support import JOB_REFUSED, JOB_VALUES, KEY, NEEDED, SECRET
from tests.operator.reconcile.views import seen

BASE: dict[str, Any] = merged(
    JOB_BASE,
    {
        "dataset": {"train": ["s3://lake/train.jsonl"]},
        "output": {"uri": "s3://lake/adapters/"},
        "resources": {"gpus": 1},
        "runtime": {"tolerations": [{"key": "gpu", "operator": "Exists", "value": "a", "effect": "NoExecute"}]},
    },
)
HERE: dict[str, Any] = {
    "spec.model.tokenSecretRef.name": "other",
    "spec.model.tokenSecretRef.key": "other",
    "spec.dataset.secretRef.name": "other",
    "spec.output.secretRef.name": "other",
    "spec.resources.gpuResource": "amd.com/gpu",
    "spec.resources.nodes": 2,
    "spec.resources.shm": "1Gi",
    "spec.runtime.engine": "TrainJob",
    "spec.runtime.image": "ghcr.io/graft-dev/trainer@sha256:" + "0" * 64,
    "spec.runtime.queueName": "queue",
    "spec.runtime.priorityClassName": "batch",
    "spec.runtime.nodeSelector": {"gpu": "yes"},
    "spec.runtime.tolerations[].key": "other",
    "spec.runtime.tolerations[].operator": "Equal",
    "spec.runtime.tolerations[].value": "b",
    "spec.runtime.tolerations[].effect": "NoSchedule",
}
"""Another value for each field that only pods can use."""
AROUND: dict[str, dict[str, Any]] = {
    "spec.model.tokenSecretRef": {"model": {"tokenSecretRef": KEY}},
    "spec.dataset.secretRef": {"dataset": {"secretRef": SECRET}},
    "spec.output.secretRef": {"output": {"secretRef": SECRET}},
}
REFUSED_HERE: dict[str, Any] = {
    "spec.model.id": "pvc://claim/model",
    "spec.dataset.train[]": "file:///data.jsonl",
    "spec.dataset.validation[]": "file:///data.jsonl",
    "spec.dataset.test[]": "pvc://claim/data.jsonl",
    "spec.output.uri": "file:///adapters/",
}


def view(spec: dict[str, Any], **fields: Any) -> ObservedFineTuneJob:
    return seen(a_finetunejob(spec), capabilities=Capabilities(CLUSTER_FINETUNEJOB, LOCAL_SHELL.modelrelease), **fields)


def effects(spec: dict[str, Any]) -> list[Any]:
    """All that a field of the spec may change: the request, the pods, and what is decided."""
    job = a_finetunejob(spec)
    request = render_train_request(job, pinned=None, default_output_uri="s3://default/")
    defaults = PodDefaults(image="trainer")
    plans = [ChildPlan("check", "c", "r"), ChildPlan("train", "t", "r", max_restarts=job.spec.runtime.max_restarts)]
    rendered = [render_job(job, plan, defaults=defaults) for plan in plans]
    return [render_request_config_map(job, request), rendered, render_train_job(job, plans[1]), job.spec.runtime.engine]


def test_every_field_is_in_exactly_one_of_used_and_refused() -> None:
    wrong = {
        leaf: (used, refused)
        for leaf in leaves(FineTuneJobSpec)
        for used, refused in [covering(CLUSTER_FINETUNEJOB, leaf)]
        if len(used) + len(refused) != 1
    }
    assert wrong == {}


def test_every_used_field_has_a_test_of_its_effect() -> None:
    used = {leaf for leaf in leaves(FineTuneJobSpec) if covering(CLUSTER_FINETUNEJOB, leaf)[0]}
    assert used == {*JOB, *JOB_ONE_VALUE, *HERE}


@pytest.mark.parametrize("path", HERE)
def test_a_change_of_a_field_that_needs_pods_changes_something(path: str) -> None:
    base = merged(BASE, next((parts for prefix, parts in AROUND.items() if path.startswith(prefix)), {}))
    assert effects(merged(base, document(path, HERE[path]))) != effects(base)


@pytest.mark.parametrize("path", [*CLUSTER_FINETUNEJOB.refused, *(rule.path for rule in CLUSTER_FINETUNEJOB.values)])
def test_what_is_not_supported_is_refused_by_its_name(path: str) -> None:
    value = {**JOB_VALUES, **JOB_REFUSED, **REFUSED_HERE}[path]
    spec = merged(merged(BASE, NEEDED.get(path, {})), document(path, value))
    if path == "spec.model.id":
        spec["model"]["revision"] = None
    decision = decide_finetunejob(view(spec), NOW)
    accepted = find_condition(decision.status.conditions, "Accepted")
    assert accepted is not None
    assert (accepted.status, accepted.reason) == ("False", "NotSupported")
    assert path.replace("[]", "[0]") in accepted.message
    assert not any(isinstance(action, CreateChild) for action in decision.actions)


def test_what_a_pod_can_do_is_accepted() -> None:
    spec = a_finetunejob(merged(BASE, {"resources": {"gpus": 8, "nodes": 2}, "runtime": {"engine": "TrainJob"}})).spec
    assert find_refusals(spec, finetunejob_support(has_train_jobs=True)) == ()


def test_a_train_job_is_refused_by_name_where_it_is_not_served() -> None:
    spec = a_finetunejob(merged(BASE, {"runtime": {"engine": "TrainJob"}})).spec
    (refusal,) = find_refusals(spec, finetunejob_support(has_train_jobs=False))
    assert refusal.message == (
        "spec.runtime.engine 'TrainJob' is not supported in this version; this cluster does not serve"
        " trainer.kubeflow.org/v1alpha1: install Kubeflow Trainer, or use Job"
    )


@pytest.mark.parametrize(
    ("policy", "spec", "told"),
    [
        (
            Policy(has_default_store=False),
            {"output": {"uri": None}},
            "spec.output.uri is not set, and this operator has no store of its own",
        ),
        (
            Policy(allowed_node_selector_keys=frozenset({"gpu", "zone"})),
            {"runtime": {"nodeSelector": {"disk": "ssd"}}},
            "spec.runtime.nodeSelector: key 'disk' is not allowed; the operator allows gpu, zone",
        ),
        (
            Policy(allowed_toleration_keys=frozenset()),
            {},
            "spec.runtime.tolerations: key 'gpu' is not allowed; the operator allows none",
        ),
    ],
    ids=["no-store", "node-selector", "tolerations"],
)
def test_what_the_policy_does_not_allow_is_named(policy: Policy, spec: dict[str, Any], told: str) -> None:
    decision = decide_finetunejob(view(merged(BASE, spec), policy=policy), NOW)
    accepted = find_condition(decision.status.conditions, "Accepted")
    assert accepted is not None
    assert (accepted.reason, accepted.message) == ("PolicyDenied", told)
