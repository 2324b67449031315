"""ModelRelease and the adapter it resolved to → what one arm is given."""

from collections.abc import Mapping
from dataclasses import dataclass

from graft_core.api.v1alpha1.modelrelease import AdapterRef, ModelRelease
from graft_core.contracts.base import ObjectRef
from graft_core.contracts.predictor_config import EngineConfig, PredictorConfig
from graft_operator.render.limits import Limits, arm_limits

__all__ = ["ArmRecipe", "render_arm", "render_predictor_config"]


@dataclass(frozen=True, slots=True)
class ArmRecipe:
    """All that starts an arm; the shell keeps it by revision, so that a revision can be gone back to."""

    config: PredictorConfig
    env: Mapping[str, str]
    """Environment beside the shell's own."""
    limits: Limits


def render_arm(release: ModelRelease, *, revision: str, uri: str, digest: str) -> ArmRecipe:
    """Render config, environment and limits of one arm.

    Args:
        release: An accepted release; a field that is not supported would be lost here.
        revision: The arm's revision.
        uri: Folder of the adapter.
        digest: Digest its manifest must have.

    Returns:
        The recipe; the same release and adapter give the same one.
    """
    return ArmRecipe(
        config=render_predictor_config(release, revision=revision, uri=uri, digest=digest),
        env={var.name: var.value for var in release.spec.engine.env},
        limits=arm_limits(release),
    )


def render_predictor_config(release: ModelRelease, *, revision: str, uri: str, digest: str) -> PredictorConfig:
    """Render the config that the arm's predictor reads."""
    spec = release.spec
    return PredictorConfig(
        release=ObjectRef(
            namespace=release.metadata.namespace,
            name=release.metadata.name,
            uid=release.metadata.uid,
            generation=max(1, release.metadata.generation),
        ),
        revision=revision,
        adapter=AdapterRef(uri=uri, digest=digest),
        engine=EngineConfig(
            gpus=spec.engine.resources.gpus, threads=arm_limits(release).threads, args=spec.engine.args
        ),
        timeout_seconds=spec.predictor.timeout_seconds,
        max_concurrency=spec.predictor.max_concurrency,
        cache=spec.cache,
        guardrails=spec.guardrails,
        request_log=spec.request_log,
    )
