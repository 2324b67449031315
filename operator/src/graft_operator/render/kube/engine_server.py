"""TGI or vLLM beside the predictor: one base model by commit, one adapter from the shared folder, on the pod's loopback alone.

Nobody but the predictor reaches it, so it has no port and no HTTP probe of the kubelet's; it is asked from within. Whether it serves what it
should, the predictor has it prove before the arm is ready (docs/develop/engines.md). It is given the adapter that the init container verified, by a
name that ends with its digest. What both send home is turned off. The flags are those of text-generation-inference 3
(docs/source/reference/launcher.md) and of `vllm serve`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.contracts.predictor_config import EngineConfig, EngineServer, short_digest

__all__ = ["BaseModel", "render_engine_config", "render_server"]

_Json = dict[str, Any]

PORTS: Final[Mapping[str, int]] = {"tgi": 3000, "vllm": 8000}
LORA_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for --max-lora-rank."""
MOST_S: Final = 3600
"""Longest that a server may take until it has loaded its model."""
CACHE: Final = "/data"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """The base model that the adapter was trained on."""

    id: str
    revision: str
    """Commit."""
    rank: int
    """Of the adapter."""


def render_engine_config(release: ModelRelease, base: BaseModel, digest: str) -> EngineConfig:
    """Tell the predictor what its server is called, and what that calls base and adapter."""
    spec = release.spec
    kind = spec.engine.type.value
    server = EngineServer(
        url=f"http://127.0.0.1:{PORTS[kind]}",
        model=base.id if kind == "tgi" else _served_name(base),
        adapter=_adapter_name(release, digest),
        startup_seconds=MOST_S,
        first_token_seconds=min(60, spec.predictor.timeout_seconds),
    )
    return EngineConfig.model_validate({"type": kind, "server": server})


def render_server(
    release: ModelRelease, base: BaseModel, digest: str, *, adapter_dir: str, gpu_resource: str, env: list[_Json]
) -> tuple[_Json, list[_Json]]:
    """Render the container of the server, and the volumes it needs.

    Args:
        release: An accepted release with an engine that is a server.
        base: What it loads.
        digest: The adapter's.
        adapter_dir: Where the adapter lies in the pod's volume `adapter`.
        gpu_resource: Name of the resource that GPUs are.
        env: Variables with secrets, such as the hub's token.

    Returns:
        Container and volumes.
    """
    engine = release.spec.engine
    kind = engine.type.value
    command: Callable[[ModelRelease, BaseModel, str, str], tuple[list[str], list[str], dict[str, str]]] = (
        _tgi if kind == "tgi" else _vllm
    )
    program, args, own = command(release, base, _adapter_name(release, digest), adapter_dir)
    variables = {var.name: var.value for var in engine.env} | own | _homes()
    limits = {"memory": engine.resources.memory} if engine.resources.memory else {}
    requests = dict(limits)
    if engine.resources.gpus:
        limits[gpu_resource] = str(engine.resources.gpus)
    container: _Json = {
        "name": "engine",
        "image": engine.image,
        "imagePullPolicy": "IfNotPresent",
        "command": program,
        "args": [*args, *engine.args],
        "env": [*({"name": name, "value": value} for name, value in sorted(variables.items())), *env],
        "resources": {part: values for part, values in (("requests", requests), ("limits", limits)) if values},
        "startupProbe": {**_probe(PORTS[kind]), "periodSeconds": 10, "failureThreshold": MOST_S // 10},
        "livenessProbe": {**_probe(PORTS[kind]), "periodSeconds": 20, "failureThreshold": 6},
        # Its root is not read-only: these images write beside their own code.
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "adapter", "mountPath": adapter_dir, "readOnly": True},
            {"name": "models", "mountPath": CACHE},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108  # an emptyDir of the pod's own
            {"name": "engine-tmp", "mountPath": "/tmp"},  # noqa: S108  # same
        ],
    }
    volumes: list[_Json] = [
        {"name": "models", "emptyDir": {}},
        {"name": "engine-tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    ]
    return container, volumes


def _tgi(
    release: ModelRelease, base: BaseModel, adapter: str, adapter_dir: str
) -> tuple[list[str], list[str], dict[str, str]]:
    engine = release.spec.engine
    args = ["--model-id", base.id, "--revision", base.revision, "--hostname", "127.0.0.1", "--port", str(PORTS["tgi"])]
    args += ["--max-concurrent-requests", str(release.spec.predictor.max_concurrency)]
    args += ["--num-shard", str(engine.resources.gpus)] if engine.resources.gpus > 1 else []
    args += ["--quantize", engine.quantize] if engine.quantize else []
    own = {"LORA_ADAPTERS": f"{adapter}={adapter_dir}", "USAGE_STATS": "off", "HUGGINGFACE_HUB_CACHE": CACHE}
    return ["text-generation-launcher"], args, own


def _vllm(
    release: ModelRelease, base: BaseModel, adapter: str, adapter_dir: str
) -> tuple[list[str], list[str], dict[str, str]]:
    engine = release.spec.engine
    args = ["serve", base.id, "--revision", base.revision, "--tokenizer-revision", base.revision]
    args += ["--served-model-name", _served_name(base), "--host", "127.0.0.1", "--port", str(PORTS["vllm"])]
    args += ["--enable-lora", "--lora-modules", f"{adapter}={adapter_dir}", "--max-loras", "1"]
    args += ["--max-lora-rank", str(next((rank for rank in LORA_RANKS if rank >= base.rank), LORA_RANKS[-1]))]
    args += ["--tensor-parallel-size", str(engine.resources.gpus)] if engine.resources.gpus > 1 else []
    args += ["--quantization", engine.quantize] if engine.quantize else []
    own = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CACHE_ROOT": f"{CACHE}/vllm", "HF_HOME": CACHE}
    return ["vllm"], args, own


def _probe(port: int) -> _Json:
    """Ask from within: the kubelet can't reach the pod's loopback. Both images are built on Ubuntu, which has bash."""
    ask = f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200'"
    return {"exec": {"command": ["bash", "-c", ask]}, "timeoutSeconds": 10}


def _homes() -> dict[str, str]:
    return {
        "HOME": "/tmp",  # noqa: S108  # an emptyDir of the pod's own
        "USER": "graft",  # the user has no entry in passwd, and Python's getpass asks for a name
        "TRITON_CACHE_DIR": f"{CACHE}/triton",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _adapter_name(release: ModelRelease, digest: str) -> str:
    return f"{release.metadata.name}-{short_digest(digest)}"


def _served_name(base: BaseModel) -> str:
    """Name a base model so that the name can't mean another commit."""
    name = base.id.rpartition("/")[2].lower()
    return f"{name}-{short_digest(base.revision)}"
