"""The pod of one arm, as the predictor part of an InferenceService. Every one passes Pod Security `restricted`.

    container             does                                                                    is given
    storage-initializer   copies the adapter, verifies it against its digest, ends (init)         the Secret of the object store
    kserve-container      Graft's predictor: verifies again, loads, answers on 8080               config.json, the adapter, read only
    engine                TGI or vLLM, where spec.engine.type says so (`engine_server`)           the adapter, read only

The init container's name is on purpose KServe's own: its pod webhook adds one that downloads without verifying, unless there is a container
of that name (kserve/kserve storage_initializer_injector.go). KServe takes canaries of a custom predictor only where it has STORAGE_URI, and
lets a predictor be renamed only where that changes: so it holds the adapter's URI, with the revision behind it.

Knative takes no init containers, no lifecycle hooks and no pod security context unless told to: there the predictor copies the adapter
itself, and everything `restricted` asks for stands at the container.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graft_core.api.base import SecretKeyRef, SecretRef
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import LABEL_NAME, LABEL_REVISION, LABEL_ROLE
from graft_core.api.v1alpha1.serving import SERVER_ENGINES
from graft_core.contracts.pod import S3_NEEDED_KEYS, TERMINATION_FILE
from graft_operator.render.kube.engine_server import BaseModel, render_server
from graft_operator.render.kube.labels import MANAGED_BY, owner_labels

__all__ = [
    "ADAPTER_DIR",
    "CONFIG_DIR",
    "PORT",
    "ArmModel",
    "PodAccess",
    "PredictorDefaults",
    "render_predictor_pod",
]

PORT: Final = 8080
"""Where a predictor answers: requests, probes and /metrics."""
CONFIG_DIR: Final = "/graft/config"
ADAPTER_DIR: Final = "/graft/adapter"
CACHE_DIR: Final = "/var/cache/graft"
MAIN: Final = "kserve-container"
FETCHER: Final = "storage-initializer"
PRE_STOP_S: Final = 10
"""Between being told to stop and stopping: gateways and kube-proxy hear of it later than the pod does."""
MOST_GRACE_S: Final = 600
"""Longest that open requests are waited for, however long one may take."""
LOAD_S: Final = 3600
"""Longest that an arm may take from its start until it answers; the release's progressDeadline is usually sooner."""
USER: Final = 65532
"""Any user but root will do; this one is in no image's passwd, so nothing belongs to it by accident."""
S3_VARIABLES: Final = {
    "AWS_ACCESS_KEY_ID": "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY": "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN": "AWS_SESSION_TOKEN",
    "AWS_REGION": "AWS_REGION",
    "AWS_ENDPOINT_URL": "AWS_ENDPOINT_URL_S3",
}
"""Keys that are read of an object store's Secret, and the variables they become; others stay where they are."""
S3_DEFAULTS: Final = {"AWS_REGION": "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3": "AWS_ENDPOINT_URL"}
"""Where the operator's own value goes beside a Secret that may lack the key: AWS's second name, read where the first one is not set."""

_Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PredictorDefaults:
    """What an operator gives every arm; read from its settings once."""

    image: str
    """Predictor image, by digest."""
    service_account: str | None = None
    """ServiceAccount of the pods, e.g. one with a cloud identity that may read the object store; never with rights in the cluster."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of registries."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables without secrets, e.g. AWS_ENDPOINT_URL, HF_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT."""
    gpu_resource: str = "nvidia.com/gpu"
    """Name of the resource that spec.engine.resources.gpus asks for."""


@dataclass(frozen=True, slots=True)
class ArmModel:
    """What one arm serves."""

    revision: str
    uri: str
    """Folder of the adapter."""
    digest: str
    """Digest its manifest must have."""
    base: BaseModel


@dataclass(frozen=True, slots=True)
class PodAccess:
    """Secrets by name; nobody but the pod reads them."""

    adapter: SecretRef | None = None
    """Of the object store with the adapter."""
    hub: SecretKeyRef | None = None
    """Token of the hub with the base model."""
    request_log: SecretRef | None = None
    """Of the object store that requests are recorded in."""


def render_predictor_pod(
    release: ModelRelease,
    model: ArmModel,
    *,
    config_map: str,
    access: PodAccess,
    defaults: PredictorDefaults,
    is_knative: bool,
) -> _Json:
    """Render all of an arm's predictor but its name, its count and its share of the traffic.

    Args:
        release: An accepted release.
        model: What the arm serves.
        config_map: What holds config.json.
        access: Secrets.
        defaults: The operator's own.
        is_knative: Whether Knative runs it.

    Returns:
        `spec.predictor` in part; the same arguments give the same bytes, so that no pod is restarted for nothing.
    """
    grace_s = min(release.spec.predictor.timeout_seconds, MOST_GRACE_S)
    pod: _Json = {
        "annotations": {LABEL_REVISION: model.revision},
        "labels": {
            **MANAGED_BY,
            **owner_labels(release.metadata.uid),
            LABEL_NAME: release.metadata.name,
            LABEL_REVISION: model.revision,
            LABEL_ROLE: "predictor",
        },
        # The gateway's own default, 60 s, would cut long answers; a little more than ours, so that ours is what clients see.
        "timeout": release.spec.predictor.timeout_seconds + 5,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [_predictor(release, model, grace_s, access, defaults, is_knative=is_knative)],
        "volumes": _volumes(config_map, is_knative=is_knative),
    }
    if defaults.service_account:
        pod["serviceAccountName"] = defaults.service_account
    if defaults.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in defaults.image_pull_secrets]
    if not is_knative:
        pod["initContainers"] = [_fetcher(model, access, defaults)]
        pod["terminationGracePeriodSeconds"] = PRE_STOP_S + grace_s + 10
        pod["securityContext"] = {**_as_user(), "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
    if release.spec.engine.type in SERVER_ENGINES:
        server, volumes = render_server(
            release,
            model.base,
            model.digest,
            adapter_dir=ADAPTER_DIR,
            gpu_resource=defaults.gpu_resource,
            env=_hub_env(access),
        )
        pod["containers"].append(server)
        pod["volumes"] += volumes
    return pod


def _predictor(
    release: ModelRelease,
    model: ArmModel,
    grace_s: int,
    access: PodAccess,
    defaults: PredictorDefaults,
    *,
    is_knative: bool,
) -> _Json:
    ready = {"path": f"/v2/models/{release.metadata.name}/ready", "port": PORT}
    container: _Json = {
        "name": MAIN,
        "image": defaults.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["graft-predictor"],
        "args": [
            *("--config", f"{CONFIG_DIR}/config.json"),
            *("--host", "0.0.0.0"),  # noqa: S104  # a pod's own address
            *("--port", str(PORT)),
            *("--cache-dir", CACHE_DIR),
            *("--grace-seconds", str(grace_s)),
        ],
        "env": _env(release, access, defaults, is_knative=is_knative)
        + ([] if is_knative else [{"name": "STORAGE_URI", "value": f"{model.uri}#{model.revision}"}]),
        "ports": [{"containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": ready, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
        # It opens its port at once and says why it is not ready yet: alive does not mean loaded, so no start-up probe is needed.
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": PORT},
            "initialDelaySeconds": 30,
            "periodSeconds": 20,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
        },
        "resources": _resources(release, defaults),
        "securityContext": _container_security(is_alone=is_knative),
        "terminationMessagePath": TERMINATION_FILE,
        # Not FallbackToLogsOnError: pod statuses are read by many.
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
            {"name": "cache", "mountPath": CACHE_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # an emptyDir of the pod's own
        ],
    }
    if is_knative:
        container["readinessProbe"]["failureThreshold"] = LOAD_S // 5
    else:
        container["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP_S)]}}}
        container["volumeMounts"].append({"name": "adapter", "mountPath": ADAPTER_DIR, "readOnly": True})
    return container


def _fetcher(model: ArmModel, access: PodAccess, defaults: PredictorDefaults) -> _Json:
    return {
        "name": FETCHER,
        "image": defaults.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "graft_predictor.app.fetch"],
        "args": ["--uri", model.uri, "--digest", model.digest, "--to", ADAPTER_DIR],
        "env": _joined({**defaults.env, **_homes()}, _s3_env(access.adapter)),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "securityContext": _container_security(is_alone=False),
        "terminationMessagePath": TERMINATION_FILE,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "adapter", "mountPath": ADAPTER_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # an emptyDir of the pod's own
        ],
    }


def _env(
    release: ModelRelease, access: PodAccess, defaults: PredictorDefaults, *, is_knative: bool
) -> list[dict[str, Any]]:
    """Give the engine's own variables first: what Graft sets itself can't be overridden."""
    is_in_process = release.spec.engine.type not in SERVER_ENGINES
    own = {var.name: var.value for var in release.spec.engine.env} if is_in_process else {}
    fixed = {**own, **defaults.env, **_homes()}
    if not is_in_process or not release.spec.engine.resources.gpus:
        # Where the NVIDIA runtime is a node's default, a pod that asked for no GPU would be shown all of them.
        fixed |= {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}
    secret = access.request_log if not is_knative else access.request_log or access.adapter
    env = _s3_env(secret) + (_hub_env(access) if is_in_process else [])
    return _joined(fixed, env)


def _joined(plain: Mapping[str, str], secret: list[_Json]) -> list[_Json]:
    """Put variables together, each name once: what comes of a Secret counts more, as for the trainer that wrote there."""
    taken = {one["name"] for one in secret}
    second = {S3_DEFAULTS[name]: value for name, value in plain.items() if name in taken & S3_DEFAULTS.keys()}
    left = second | {name: value for name, value in plain.items() if name not in taken}
    return [*({"name": name, "value": value} for name, value in sorted(left.items())), *secret]


def _homes() -> dict[str, str]:
    """Point everything that libraries write at folders that may be written."""
    return {
        "HOME": "/tmp",  # noqa: S108  # an emptyDir of the pod's own
        "USER": "graft",  # the user has no entry in passwd, and Python's getpass asks for a name
        "HF_HOME": f"{CACHE_DIR}/huggingface",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _s3_env(ref: SecretRef | None) -> list[_Json]:
    if ref is None:
        return []
    return [
        {
            "name": variable,
            "valueFrom": {
                "secretKeyRef": {"name": ref.name, "key": key} | ({} if key in S3_NEEDED_KEYS else {"optional": True})
            },
        }
        for key, variable in S3_VARIABLES.items()
    ]


def _hub_env(access: PodAccess) -> list[_Json]:
    if access.hub is None:
        return []
    return [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": access.hub.model_dump()}}]


def _resources(release: ModelRelease, defaults: PredictorDefaults) -> _Json:
    asked = release.spec.predictor.resources
    # KServe's webhook would fill these in; said here, every arm is the same wherever it is made.
    limits = {"cpu": asked.cpu or "1", "memory": asked.memory or "2Gi"}
    requests = dict(limits)
    if release.spec.engine.resources.gpus and release.spec.engine.type not in SERVER_ENGINES:
        limits[defaults.gpu_resource] = str(release.spec.engine.resources.gpus)
    return {"requests": requests, "limits": limits}


def _volumes(config_map: str, *, is_knative: bool) -> list[_Json]:
    config = {"name": config_map, "items": [{"key": "config.json", "path": "config.json"}]}
    names = ["cache", "tmp"] if is_knative else ["adapter", "cache", "tmp"]
    return [{"name": "config", "configMap": config}, *({"name": name, "emptyDir": {}} for name in names)]


def _as_user() -> _Json:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _container_security(*, is_alone: bool) -> _Json:
    own = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    return {**_as_user(), **own} if is_alone else own
