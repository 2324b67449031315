"""What a child of a FineTuneJob is on a cluster."""

from collections.abc import Iterator
from typing import Any

import pytest

from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass, is_restart_counted, is_restartable
from graft_core.contracts.pod import CONTAINER, PINNED_ENV
from graft_core.contracts.train_request import Pinned, TrainRequest
from graft_core.errors import InvalidInput
from graft_operator.reconcile.job_pass import STOP_GRACE_S
from graft_operator.reconcile.observed import Role
from graft_operator.render.kube.child import ChildPlan
from graft_operator.render.kube.config_map import render_request_config_map
from graft_operator.render.kube.job import render_job
from graft_operator.render.kube.pod import GRACE_S, PodDefaults
from graft_operator.render.kube.train_job import NODE, render_train_job, render_training_runtime
from graft_operator.render.names import child_name
from graft_operator.render.train_request import render_train_request
from tests.builders import BASE_REVISION, DATASET_DIGEST, JOB_UID, a_finetunejob
from tests.operator.render.kube.golden import check_golden

DEFAULTS = PodDefaults(image="ghcr.io/graft-dev/trainer:0.1.0")
PINNED = Pinned(dataset_digest=DATASET_DIGEST, base_revision=BASE_REVISION)
STORED: dict[str, Any] = {
    "dataset": {"train": ["s3://lake/shop/train.jsonl"]},
    "output": {"uri": "s3://lake/adapters/"},
}
EVERY_OPTION: dict[str, Any] = {
    "model": {"tokenSecretRef": {"name": "hub", "key": "token"}},
    "dataset": {**STORED["dataset"], "secretRef": {"name": "lake-read"}},
    "output": {**STORED["output"], "secretRef": {"name": "lake-write"}},
    "resources": {"gpus": 1, "gpuResource": "amd.com/gpu", "cpu": "8", "memory": "64Gi", "shm": "16Gi"},
    "runtime": {
        "image": "registry.example.com/trainer@sha256:" + "0" * 64,
        "queueName": "ml-queue",
        "priorityClassName": "batch",
        "nodeSelector": {"accelerator": "a100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "maxRestarts": 5,
    },
}
EVERY_DEFAULT = PodDefaults(
    image="ghcr.io/graft-dev/trainer:0.1.0",
    service_account="trainer",
    image_pull_secrets=("registry",),
    env={"AWS_ENDPOINT_URL": "http://s3.storage.svc", "AWS_REGION": "eu-central-1"},
    work_size="200Gi",
)


def a_child(role: Role = "train", *, max_restarts: int = 3) -> ChildPlan:
    name = child_name("tune", JOB_UID, role)
    return ChildPlan(role, name, "request-1", PINNED if role == "train" else None, max_restarts)


def a_request(spec: dict[str, Any], traceparent: str | None = None) -> TrainRequest:
    return render_train_request(
        a_finetunejob(spec), pinned=None, default_output_uri="s3://default/", traceparent=traceparent
    )


def a_job(
    spec: dict[str, Any] | None = None, role: Role = "train", defaults: PodDefaults = DEFAULTS, max_restarts: int = 3
) -> dict[str, Any]:
    job = a_finetunejob({**STORED, **(spec or {})})
    return render_job(job, a_child(role, max_restarts=max_restarts), defaults=defaults)


def pod_of(rendered: dict[str, Any]) -> dict[str, Any]:
    spec = rendered["spec"]
    if rendered["kind"] == "TrainingRuntime":
        spec = spec["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]
    found: dict[str, Any] = spec["template"]["spec"]
    return found


def every_kind() -> Iterator[dict[str, Any]]:
    for spec in ({}, {"resources": {"gpus": 4}}, EVERY_OPTION):
        for role in ("check", "train"):
            yield a_job(spec, role, EVERY_DEFAULT)
    nodes = a_finetunejob({**STORED, "resources": {"gpus": 2, "nodes": 2}, "runtime": {"engine": "TrainJob"}})
    yield render_training_runtime(nodes, a_child(), defaults=DEFAULTS)


def test_a_check_and_a_training_on_the_cpu() -> None:
    config_map = render_request_config_map(a_finetunejob(STORED), a_request(STORED))
    check_golden("cpu", config_map, a_job(role="check"), a_job())


def test_one_gpu() -> None:
    check_golden("gpu", a_job({"resources": {"gpus": 1, "cpu": "4", "memory": "32Gi"}}))


def test_four_gpus_are_four_processes() -> None:
    check_golden("gpus", a_job({"resources": {"gpus": 4}}))


def test_two_nodes_are_a_train_job_with_a_runtime_of_its_own() -> None:
    job = a_finetunejob({**STORED, "resources": {"gpus": 8, "nodes": 2}, "runtime": {"engine": "TrainJob"}})
    runtime = render_training_runtime(job, a_child(), defaults=DEFAULTS)
    check_golden("nodes", runtime, render_train_job(job, a_child()))


def test_a_queue() -> None:
    check_golden("queue", a_job({"runtime": {"queueName": "ml-queue"}}))


def test_every_option() -> None:
    train = a_job(EVERY_OPTION, defaults=EVERY_DEFAULT, max_restarts=5)
    check_golden("every-option", a_job(EVERY_OPTION, "check", EVERY_DEFAULT, 5), train)


def test_the_request_is_named_by_its_content_and_not_by_trace_or_generation() -> None:
    job = a_finetunejob(STORED)
    one, same, other = (
        render_request_config_map(job, request)
        for request in (
            a_request(STORED, "00-1-1-01"),
            a_request(STORED, "00-2-2-01"),
            a_request({"training": {"seed": 7}}),
        )
    )
    assert one["metadata"]["name"] == same["metadata"]["name"] != other["metadata"]["name"]
    edited = a_finetunejob(STORED, generation=9)
    again = render_train_request(edited, pinned=None, default_output_uri="s3://default/")
    assert render_request_config_map(edited, again)["metadata"] == one["metadata"]
    assert one["immutable"]
    request = TrainRequest.model_validate_json(one["data"]["request.json"])
    assert request.traceparent == "00-1-1-01"


def test_a_request_too_large_for_a_config_map_is_refused_by_its_size() -> None:
    request = a_request({})
    large = request.model_copy(update={"task": request.task.model_copy(update={"system": "x" * 1_100_000})})
    with pytest.raises(InvalidInput, match=r"11\d{5} bytes as a request, more than the 1000000"):
        render_request_config_map(a_finetunejob(), large)


@pytest.mark.parametrize("kind", [kind for kind in ExitClass if kind is not ExitClass.SUCCEEDED])
def test_the_failure_policy_follows_the_table_of_exit_codes(kind: ExitClass) -> None:
    rules = a_job()["spec"]["podFailurePolicy"]["rules"]
    actions = [rule["action"] for rule in rules if EXIT_CODES[kind] in rule.get("onExitCodes", {}).get("values", [])]
    expected = [] if is_restart_counted(kind) else ["Ignore"] if is_restartable(kind) else ["FailJob"]
    assert actions == expected
    assert all(rule["onExitCodes"]["containerName"] == CONTAINER for rule in rules if "onExitCodes" in rule)


def test_a_disruption_is_looked_at_after_a_final_exit_code() -> None:
    rules = a_job()["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["FailJob", "Ignore", "Ignore"]
    assert rules[1]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


@pytest.mark.parametrize("rendered", list(every_kind()))
def test_every_pod_passes_pod_security_restricted(rendered: dict[str, Any]) -> None:
    pod = pod_of(rendered)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {"configMap", "emptyDir", "secret"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    names = [variable["name"] for variable in container["env"]]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith("LD_")]


def test_secrets_are_named_and_only_their_known_keys_become_variables() -> None:
    env = {one["name"]: one for one in pod_of(a_job(EVERY_OPTION, defaults=EVERY_DEFAULT))["containers"][0]["env"]}
    assert "envFrom" not in pod_of(a_job(EVERY_OPTION))["containers"][0]
    assert env["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"] == {"name": "lake-write", "key": "AWS_ACCESS_KEY_ID"}
    assert env["GRAFT_DATASET_AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["name"] == "lake-read"
    assert env["AWS_REGION"] == {"name": "AWS_REGION", "value": "eu-central-1"}
    assert env["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "hub", "key": "token"}


def test_only_the_train_child_is_pinned_and_asks_for_gpus() -> None:
    roles: tuple[tuple[Role, bool], ...] = (("check", False), ("train", True))
    for role, is_train in roles:
        job = a_finetunejob({**STORED, "resources": {"gpus": 2, "cpu": "500m", "memory": "64Gi"}})
        rendered = render_job(job, a_child(role), defaults=DEFAULTS)
        container = pod_of(rendered)["containers"][0]
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert (PINNED_ENV in env) is is_train
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) is is_train
        assert ("NVIDIA_VISIBLE_DEVICES" in env) is not is_train
        assert ("--processes" in container["args"]) is is_train
        assert container["resources"]["requests"] == {"cpu": "500m", "memory": "64Gi" if is_train else "2Gi"}


def test_names_that_kubeflow_looks_for() -> None:
    job = a_finetunejob({"resources": {"nodes": 2}, "runtime": {"engine": "TrainJob"}})
    runtime = render_training_runtime(job, a_child(), defaults=DEFAULTS)
    (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["name"] == replicated["template"]["spec"]["template"]["spec"]["containers"][0]["name"] == NODE
    assert replicated["template"]["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] == NODE
    assert render_train_job(job, a_child())["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]


def test_a_pod_gets_the_grace_that_decide_counts_on() -> None:
    assert GRACE_S == STOP_GRACE_S
