"""`spec.engine`, `spec.predictor`, `spec.cache`, `spec.guardrails`, `spec.routing` and `spec.requestLog` of a ModelRelease."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from graft_core.api.base import Cel, DecimalString, Fraction, Image, KubeModel, Quantity, SecretKeyRef, SecretRef

__all__ = [
    "SERVER_ENGINES",
    "CacheSpec",
    "CacheableSpec",
    "EngineResources",
    "EngineSpec",
    "EngineType",
    "EnvVar",
    "ExactCacheSpec",
    "GuardrailsSpec",
    "InputRule",
    "MemoryCacheSpec",
    "OnError",
    "OutputRule",
    "PredictorSpec",
    "RedisSpec",
    "ReplicasSpec",
    "RequestLogSpec",
    "RoutingSpec",
    "SemanticCacheSpec",
]

HeaderName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][-a-z0-9]*$")]
"""A header's name in lower case."""


class EngineType(StrEnum):
    """What generates."""

    TGI = "tgi"
    VLLM = "vllm"
    OPENAI = "openai"
    HUGGINGFACE = "huggingface"
    SAGEMAKER = "sagemaker"
    TRANSFORMERS = "transformers"


SERVER_ENGINES: Final = frozenset({EngineType.TGI, EngineType.VLLM})
"""Engines that are servers beside the predictor, in its pod."""


class EnvVar(KubeModel):
    """One environment variable of the engine."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!self.name.startsWith('LD_') && !self.name.startsWith('PYTHON') && !self.name.startsWith('HF_') && !self.name.startsWith('GRAFT_')"
            " && !self.name.startsWith('DYLD_') && self.name != 'PATH' && self.name != 'HOME'",
            "PATH, HOME and names that start with LD_, DYLD_, PYTHON, HF_ or GRAFT_ are not allowed",
            ".name",
        ),
    )

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Z_][A-Z0-9_]*$")]
    """Name."""
    value: Annotated[str, Field(max_length=4096)]
    """Value; never a secret."""


class EngineResources(KubeModel):
    """What the engine may use."""

    gpus: Annotated[int, Field(ge=0, le=16)] = 0
    """GPUs; 0 runs on the CPU."""
    memory: Quantity | None = None
    """Memory."""


class EngineSpec(KubeModel):
    """What generates the answers."""

    type: EngineType = EngineType.TRANSFORMERS
    """tgi or vllm (sidecar, GPU), openai, huggingface or sagemaker (remote), transformers (in process)."""
    image: Image | None = None
    """Image of the sidecar."""
    resources: EngineResources = EngineResources()
    """What the engine may use."""
    quantize: Annotated[str, Field(max_length=64)] | None = None
    """Quantization of the engine's own."""
    args: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...], Field(max_length=64)] = ()
    """Arguments of the engine; transformers takes --num-beams=N, --max-new-tokens=N, --dtype=float32|bfloat16."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()
    """Environment of the engine."""


class ReplicasSpec(KubeModel):
    """Bounds of the autoscaler."""

    cel: ClassVar[tuple[Cel, ...]] = (Cel("self.min <= self.max", "min must not be above max", ".min"),)

    min: Annotated[int, Field(ge=0, le=1000)] = 1
    """Fewest."""
    max: Annotated[int, Field(ge=1, le=1000)] = 1
    """Most."""


class PredictorResources(KubeModel):
    """What the predictor may use."""

    cpu: Quantity | None = None
    """CPU; also bounds the in-process engine's threads."""
    memory: Quantity | None = None
    """Memory."""


class PredictorSpec(KubeModel):
    """The predictor around the engine."""

    replicas: ReplicasSpec | None = None
    """Bounds of the autoscaler."""
    resources: PredictorResources = PredictorResources()
    """What the predictor may use."""
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    """A request that takes longer ends with 504."""
    max_concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    """Requests at a time; more get 429 with Retry-After."""


class MemoryCacheSpec(KubeModel):
    """The tier inside the predictor's process."""

    max_entries: Annotated[int, Field(ge=0, le=10000000)] = 10000
    """Entries kept, least recently used first out; 0 turns it off."""


class RedisSpec(KubeModel):
    """A Redis server."""

    secret_ref: SecretKeyRef
    """Secret key with the URL."""


class ExactCacheSpec(KubeModel):
    """Answers to equal requests, on disk or in Redis."""

    redis: RedisSpec | None = None
    """A shared Redis; unset: a SQLite file of the predictor's own."""
    ttl_seconds: Annotated[int, Field(ge=1, le=31536000)] = 86400
    """Entries are forgotten that long after they were made."""


class MilvusSpec(KubeModel):
    """A Milvus server."""

    uri: Annotated[str, Field(min_length=1, max_length=1024)]
    """URI."""


class EmbeddingModelSpec(KubeModel):
    """An encoder."""

    id: Annotated[str, Field(min_length=3, max_length=300)]
    """Model id."""
    revision: Annotated[str, Field(max_length=128)] | None = None
    """Revision."""


class SemanticCacheSpec(KubeModel):
    """Answers to requests of the same meaning."""

    milvus: MilvusSpec
    """The vector store."""
    embedding_model: EmbeddingModelSpec
    """The encoder."""
    threshold: Fraction = "0.93"
    """Cosine similarity from which a hit is considered."""
    ttl_seconds: Annotated[int, Field(ge=1, le=31536000)] = 86400
    """Entries are forgotten that long after they were made."""


class CacheableSpec(KubeModel):
    """Which answers may be reused."""

    max_temperature: DecimalString = "0"
    """Requests with a higher temperature are neither looked up nor stored."""


class CacheSpec(KubeModel):
    """Reuse of answers; entries never cross tenants."""

    memory: MemoryCacheSpec | None = None
    """Absent: off."""
    exact: ExactCacheSpec | None = None
    """Absent: off."""
    semantic: SemanticCacheSpec | None = None
    """Absent: off."""
    tenant_header: HeaderName | None = None
    """Header that names the tenant; requests without it share a partition of their own."""
    cacheable: CacheableSpec = CacheableSpec()
    """Which answers may be reused."""


class OnError(StrEnum):
    """What a guard that fails or times out means."""

    OPEN = "open"
    CLOSED = "closed"


class InputRule(KubeModel):
    """One check of the request."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel("(self.type == 'max-tokens') == has(self.max)", "max goes with type max-tokens", ".max"),
        Cel("(self.type == 'pii') == has(self.entities)", "entities goes with type pii", ".entities"),
        Cel("self.type == 'pii' || self.action == 'block'", "only pii can be redacted", ".action"),
    )

    type: Literal["max-tokens", "pii", "prompt-injection"]
    """max-tokens, pii or prompt-injection."""
    max: Annotated[int, Field(ge=1, le=10000000)] | None = None
    """Most prompt tokens."""
    entities: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(min_length=1, max_length=32)] | None = (
        None
    )
    """Kinds of personal data."""
    action: Literal["block", "redact"] = "block"
    """block or redact."""
    on_error: OnError | None = None
    """Overrides guardrails.onError."""


class OutputRule(KubeModel):
    """One check of the answer."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel("(self.type == 'pii') == has(self.entities)", "entities goes with type pii", ".entities"),
        Cel("!has(self.maxRepairs) || self.action == 'repair'", "maxRepairs goes with action repair", ".maxRepairs"),
        Cel("self.action != 'repair' || self.type == 'json-schema'", "only json-schema can be repaired", ".action"),
        Cel("self.action != 'redact' || self.type == 'pii'", "only pii can be redacted", ".action"),
    )

    type: Literal["json-schema", "pii"]
    """json-schema (the task's outputSchema) or pii."""
    entities: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(min_length=1, max_length=32)] | None = (
        None
    )
    """Kinds of personal data."""
    action: Literal["repair", "block", "redact"] = "block"
    """repair (ask the model once more with the fault, then block), block or redact."""
    max_repairs: Annotated[int, Field(ge=1, le=3)] | None = None
    """Attempts of repair (default 1)."""
    on_error: OnError | None = None
    """Overrides guardrails.onError."""


class GuardrailsSpec(KubeModel):
    """Checks before and after the engine; they run on cached answers too."""

    input: Annotated[tuple[InputRule, ...], Field(max_length=32)] = ()
    """In order, before anything else sees the request."""
    output: Annotated[tuple[OutputRule, ...], Field(max_length=32)] = ()
    """In order, before anybody sees the answer."""
    on_error: OnError = OnError.CLOSED
    """A guard that fails: closed refuses the request, open lets it pass."""


class RoutedEngine(KubeModel):
    """A further engine by name."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
    """Name; "self" is this release's own."""
    type: Literal["openai"] = "openai"
    """openai."""
    url: Annotated[str, Field(min_length=8, max_length=1024, pattern=r"^https?://[^\s@?#]+$")]
    """Base URL."""
    model: Annotated[str, Field(min_length=1, max_length=256)]
    """Model name there."""
    secret_ref: SecretKeyRef | None = None
    """Secret key with the API key."""


class RouteWhen(KubeModel):
    """What a rule matches."""

    header: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=8)] | None = None
    """Headers with these values."""
    prompt_tokens_over: Annotated[int, Field(ge=0, le=10000000)] | None = None
    """Prompts longer than this."""


class RouteRule(KubeModel):
    """One rule; the first match wins."""

    when: RouteWhen
    """What it matches."""
    to: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of an engine."""


class FallbackSpec(KubeModel):
    """Where a failed answer goes."""

    to: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of an engine."""
    on: Annotated[tuple[Literal["engine-error", "guardrail", "low-confidence"], ...], Field(min_length=1, max_length=3)]
    """What counts as failed."""
    min_confidence: Fraction | None = None
    """With low-confidence."""
    max_share: Fraction = "0.2"
    """Largest share of requests that may fall back."""


class RoutingSpec(KubeModel):
    """Further engines and when they answer."""

    engines: Annotated[tuple[RoutedEngine, ...], Field(max_length=16)] = ()
    """Further engines by name."""
    rules: Annotated[tuple[RouteRule, ...], Field(max_length=32)] = ()
    """First match wins, else self."""
    fallback: FallbackSpec | None = None
    """Where a failed answer goes."""


class RequestLogSpec(KubeModel):
    """A record of what was asked, for review and for the next training."""

    uri: Annotated[
        str,
        Field(
            min_length=8,
            max_length=1024,
            pattern=r"^(s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]/|file:///)[^\s\\@?#\x00-\x1f\x7f]*$",
        ),
    ]
    """s3://bucket/prefix/ or file:///path/."""
    secret_ref: SecretRef | None = None
    """Credentials for s3://."""
    sample_rate: Fraction = "1.0"
    """Share of the requests that are recorded."""
    redact_pii: bool = True
    """Personal data in stored text is replaced."""
    store_text: bool = False
    """False: lengths, hashes and verdicts only."""
