"""The pod of a trainer child. Every one passes Pod Security `restricted`: nothing here depends on what a user wrote.

A user chooses image, resources, node selector and tolerations (the operator's policy has allow-lists for the last two), and names
Secrets; the operator never reads these. Of a Secret only known keys become variables, so that it cannot bring LD_PRELOAD or PYTHONPATH
along, and its folder is mounted beside them, because a variable is never renewed and a mounted file is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graft_core.api.base import SecretRef
from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.contracts.pod import (
    CONTAINER,
    DATASET_CREDENTIALS,
    OUTPUT_CREDENTIALS,
    PINNED_ENV,
    PROGRESS_PORT,
    REQUEST_FILE,
    RUN_DIR,
    S3_NEEDED_KEYS,
    SECRETS_DIR,
    TERMINATION_FILE,
    WORK_DIR,
)
from graft_operator.render.kube.child import ChildPlan
from graft_operator.render.kube.labels import child_labels
from graft_operator.render.limits import quantity

__all__ = ["PodDefaults", "render_pod_template"]

GRACE_S: Final = 60
"""From SIGTERM to SIGKILL, as `reconcile.job_pass.STOP_GRACE_S`: time for a checkpoint of a large adapter to reach the store."""
USER: Final = 65532
"""Any user but root will do; this one is not in any image's passwd, so nothing belongs to it by accident."""
CHECK_MOST: Final = {"cpu": "1", "memory": "2Gi"}
"""What a check reserves at most; its limits are the job's own."""
SHM_PER_GPU_JOB: Final = "1Gi"
"""Shared memory of a job with several GPUs, where spec.resources.shm is unset: NCCL fails with the 64 MiB of a plain container."""
DEFAULT_GPU_RESOURCE: Final = "nvidia.com/gpu"
VERBS: Final[Mapping[str, str]] = {"check": "validate", "train": "run"}
"""Command of the trainer by role."""

_Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodDefaults:
    """What an operator gives every trainer pod; read from its settings once."""

    image: str
    """Trainer image of jobs without spec.runtime.image."""
    service_account: str | None = None
    """ServiceAccount of the pods, e.g. one with a cloud identity that may use the object store; never with rights in the cluster."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of registries."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables without secrets, e.g. AWS_ENDPOINT_URL, HF_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT."""
    work_size: str | None = None
    """Most that a pod may write to its work folder (base model, data, checkpoints); None: what the node has."""


def render_pod_template(
    job: FineTuneJob, child: ChildPlan, defaults: PodDefaults, *, container: str = CONTAINER
) -> _Json:
    """Render the pod template of a child.

    Args:
        job: The owner.
        child: What it is made from.
        defaults: The operator's own.
        container: Name of its one container.

    Returns:
        metadata and spec.
    """
    spec = job.spec
    pod: _Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{"name": container, **_container(job, child, defaults)}],
        "volumes": _volumes(job, child, defaults),
    }
    optional: _Json = {
        "serviceAccountName": defaults.service_account,
        "imagePullSecrets": [{"name": name} for name in defaults.image_pull_secrets],
        "priorityClassName": spec.runtime.priority_class_name,
        "nodeSelector": spec.runtime.node_selector,
        "tolerations": [one.model_dump(by_alias=True, exclude_none=True) for one in spec.runtime.tolerations or ()],
    }
    return {
        "metadata": {"labels": child_labels(job.metadata, child.role)},
        "spec": pod | {name: value for name, value in optional.items() if value},
    }


def _container(job: FineTuneJob, child: ChildPlan, defaults: PodDefaults) -> _Json:
    return {
        "image": job.spec.runtime.image or defaults.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["graft-trainer"],
        "args": _args(job, child),
        "env": _env(job, child, defaults),
        "ports": [{"name": "progress", "containerPort": PROGRESS_PORT}],
        # No probe: a trainer is alive as long as it makes progress, and that the operator's watchdog sees.
        "resources": _resources(job, child),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": TERMINATION_FILE,
        # Not FallbackToLogsOnError: a log's tail may quote data, and pod statuses are read by many.
        "terminationMessagePolicy": "File",
        "volumeMounts": _mounts(job, child),
    }


def _args(job: FineTuneJob, child: ChildPlan) -> list[str]:
    args = [VERBS[child.role], "--pod", "--request", REQUEST_FILE, "--run-dir", RUN_DIR]
    resources = job.spec.resources
    if child.role == "train" and (resources.gpus > 1 or resources.nodes > 1):
        # The trainer starts torchrun itself, once for each pod: torchrun answers every failure of its processes with exit code 1,
        # and podFailurePolicy needs the code of the trainer.
        args += ["--processes", str(max(1, resources.gpus))]
        args += ["--nodes", str(resources.nodes)] if resources.nodes > 1 else []
    return args


def _env(job: FineTuneJob, child: ChildPlan, defaults: PodDefaults) -> list[_Json]:
    cache = f"{WORK_DIR}/cache"
    fixed = {
        **defaults.env,
        "HOME": f"{WORK_DIR}/home",
        "USER": "graft",  # the user has no entry in passwd, and Python's getpass asks for a name
        "TMPDIR": "/tmp",  # noqa: S108  # an emptyDir of the pod's own
        "XDG_CACHE_HOME": cache,
        "HF_HOME": f"{cache}/huggingface",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
        "TRITON_CACHE_DIR": f"{cache}/triton",
        "CUDA_CACHE_PATH": f"{cache}/cuda",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if _gpus(job, child) == 0:
        # Where the NVIDIA runtime is a node's default, a pod that asked for no GPU would be shown all of them.
        fixed |= {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}
    if child.pinned is not None:
        fixed[PINNED_ENV] = child.pinned.to_json()
    secret = _secret_env(job)
    taken = {one["name"] for one in secret}
    return [{"name": name, "value": value} for name, value in sorted(fixed.items()) if name not in taken] + secret


def _secret_env(job: FineTuneJob) -> list[_Json]:
    """Ask for the keys that must be there: without them the kubelet holds the pod up with a reason that names Secret and key.

    The optional ones are read from the mounted folder alone, so that a Secret without them leaves the operator's defaults in force.
    """
    token = job.spec.model.token_secret_ref
    needed = [("HF_TOKEN", token.name, token.key)] if token is not None else []
    needed += [(prefix + key, ref.name, key) for prefix, ref in _credentials(job) for key in S3_NEEDED_KEYS]
    return [{"name": name, "valueFrom": {"secretKeyRef": {"name": ref, "key": key}}} for name, ref, key in needed]


def _credentials(job: FineTuneJob) -> list[tuple[str, SecretRef]]:
    refs = ((OUTPUT_CREDENTIALS, job.spec.output.secret_ref), (DATASET_CREDENTIALS, job.spec.dataset.secret_ref))
    return [(prefix, ref) for prefix, ref in refs if ref is not None]


def _gpus(job: FineTuneJob, child: ChildPlan) -> int:
    return job.spec.resources.gpus if child.role == "train" else 0


def _resources(job: FineTuneJob, child: ChildPlan) -> _Json:
    asked = job.spec.resources
    limits = {name: value for name, value in (("cpu", asked.cpu), ("memory", asked.memory)) if value is not None}
    requests = dict(limits)
    if child.role == "check":
        requests = {name: min(value, CHECK_MOST[name], key=quantity) for name, value in limits.items()}
    if _gpus(job, child):
        limits[asked.gpu_resource or DEFAULT_GPU_RESOURCE] = str(asked.gpus)
    return {kind: values for kind, values in (("requests", requests), ("limits", limits)) if values}


def _shm(job: FineTuneJob, child: ChildPlan) -> str | None:
    if child.role == "check":
        return None
    return job.spec.resources.shm or (SHM_PER_GPU_JOB if job.spec.resources.gpus > 1 else None)


def _volumes(job: FineTuneJob, child: ChildPlan, defaults: PodDefaults) -> list[_Json]:
    shm = _shm(job, child)
    return [
        {"name": "request", "configMap": {"name": child.request_name}},
        {"name": "work", "emptyDir": {"sizeLimit": defaults.work_size} if defaults.work_size else {}},
        {"name": "tmp", "emptyDir": {}},
        *([{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}}] if shm else []),
        *(
            # Optional: the variables have said already, and better, that it is missing.
            {"name": _secret_volume(prefix), "secret": {"secretName": ref.name, "defaultMode": 0o440, "optional": True}}
            for prefix, ref in _credentials(job)
        ),
    ]


def _mounts(job: FineTuneJob, child: ChildPlan) -> list[_Json]:
    return [
        {"name": "request", "mountPath": REQUEST_FILE.rpartition("/")[0], "readOnly": True},
        {"name": "work", "mountPath": WORK_DIR},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # an emptyDir of the pod's own
        *([{"name": "shm", "mountPath": "/dev/shm"}] if _shm(job, child) else []),  # noqa: S108  # same
        *(
            {"name": _secret_volume(prefix), "mountPath": f"{SECRETS_DIR}/{_secret_folder(prefix)}", "readOnly": True}
            for prefix, _ in _credentials(job)
        ),
    ]


def _secret_folder(prefix: str) -> str:
    return "dataset" if prefix == DATASET_CREDENTIALS else "output"


def _secret_volume(prefix: str) -> str:
    return f"secret-{_secret_folder(prefix)}"
