"""PredictorConfig: operator → predictor, a JSON file (a ConfigMap named by its hash on a cluster)."""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from graft_core.api.v1alpha1.modelrelease import AdapterRef
from graft_core.api.v1alpha1.serving import CacheSpec, GuardrailsSpec, RequestLogSpec
from graft_core.contracts.base import Contract, ObjectRef

__all__ = ["EngineConfig", "EngineServer", "PredictorConfig", "short_digest"]

_SHORT: Final = 12


def short_digest(digest: str) -> str:
    """Return the first twelve hex digits of a digest or commit; names that hold them cannot mean another adapter or base."""
    return digest.removeprefix("sha256:")[:_SHORT]


class EngineServer(Contract):
    """A model server beside the predictor: loopback only, started with this one base model and adapter."""

    url: Annotated[str, Field(pattern=r"^http://(127\.0\.0\.1|localhost|\[::1\]):[1-9][0-9]{0,4}$")]
    """Where it listens."""
    model: Annotated[str, Field(min_length=1, max_length=512)]
    """What it calls its base model (TGI: model_id of /info; vLLM: --served-model-name). Unless the server tells the commit itself, the name holds the first twelve hex digits of the base model's revision."""
    adapter: Annotated[str, Field(pattern=r"^[A-Za-z0-9][-A-Za-z0-9._]{0,126}$")]
    """What it calls the adapter; ends with the first twelve hex digits of the adapter's digest."""
    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    """Tokens of an answer where the request does not say."""
    startup_seconds: Annotated[int, Field(ge=1, le=86_400)] = 1800
    """Longest that the server may take to load; after that the predictor is never ready."""
    connect_seconds: Annotated[int, Field(ge=1, le=60)] = 2
    """Longest until it takes a connection."""
    first_token_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """Longest until an answer begins, its own queue included."""
    inter_token_seconds: Annotated[int, Field(ge=1, le=600)] = 20
    """Longest between two tokens."""


def _check_engine(config: "EngineConfig") -> "EngineConfig":
    """Refuse what would be ignored."""
    if config.type == "transformers":
        if config.server is not None:
            raise ValueError("server goes with type tgi or vllm; remove it, or change the type")
    elif config.server is None:
        raise ValueError(f"type {config.type!r} needs server: where it listens, and what it calls base and adapter")
    elif config.args or config.gpus:
        raise ValueError(f"args and gpus belong to type transformers; with {config.type!r} they are the server's own")
    return config


class EngineConfig(Contract):
    """What generates: a model in the predictor's process, or a server beside it."""

    type: Literal["transformers", "tgi", "vllm"] = "transformers"
    """transformers: in process; tgi or vllm: a server."""
    gpus: int = 0
    """GPUs of the in-process engine; 0 runs on the CPU."""
    threads: int | None = None
    """CPU threads; unset: all."""
    args: tuple[str, ...] = ()
    """spec.engine.args of the in-process engine: --num-beams=N, --max-new-tokens=N, --dtype=float32|bfloat16. A server has its own command line."""
    server: EngineServer | None = None
    """Given exactly for tgi and vllm."""

    _check = model_validator(mode="after")(_check_engine)


def _check_adapter_name(config: "PredictorConfig") -> "PredictorConfig":
    """Hold the adapter's name to its digest: a server that was started with another one does not know the name."""
    server, expected = config.engine.server, short_digest(config.adapter.digest)
    if server is not None and not server.adapter.endswith(expected):
        raise ValueError(
            f"engine.server.adapter {server.adapter!r} does not end with {expected!r}, the beginning of adapter.digest"
        )
    return config


class PredictorConfig(Contract):
    """Everything a predictor needs to know; task, base model and limits come from the adapter's manifest."""

    schema_version: Literal["v1"] = "v1"
    release: ObjectRef
    """The ModelRelease; its name is the model name that clients use."""
    revision: str
    """The arm's revision, ten hex digits."""
    adapter: AdapterRef
    """Folder and digest of the adapter."""
    engine: EngineConfig = EngineConfig()
    """The engine."""
    timeout_seconds: int = 120
    """A request that takes longer ends with 504."""
    max_concurrency: int = 64
    """Requests at a time; more get 429."""
    cache: CacheSpec = CacheSpec()
    """Reuse of answers."""
    guardrails: GuardrailsSpec = GuardrailsSpec()
    """Checks."""
    request_log: RequestLogSpec | None = None
    """Record of what was asked."""

    _check = model_validator(mode="after")(_check_adapter_name)
