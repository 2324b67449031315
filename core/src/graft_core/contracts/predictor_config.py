"""PredictorConfig: operator → predictor, a JSON file (a ConfigMap named by its hash on a cluster)."""

from typing import Literal

from graft_core.api.v1alpha1.modelrelease import AdapterRef
from graft_core.api.v1alpha1.serving import CacheSpec, GuardrailsSpec, RequestLogSpec
from graft_core.contracts.base import Contract, ObjectRef

__all__ = ["EngineConfig", "PredictorConfig"]


class EngineConfig(Contract):
    """The in-process engine."""

    type: Literal["transformers"] = "transformers"
    """Engine type."""
    gpus: int = 0
    """GPUs; 0 runs on the CPU."""
    threads: int | None = None
    """CPU threads; unset: all."""
    args: tuple[str, ...] = ()
    """spec.engine.args as given: --num-beams=N, --max-new-tokens=N, --dtype=float32|bfloat16."""


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
