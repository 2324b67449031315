"""A revision's recipe, written before the arm that is made of it: one immutable ConfigMap, mounted by its pods, read again to go back.

Its name follows from the release's uid and the revision, its content is that of the first time: an operator that is updated gives a running
revision no other pod. `recipe.json` is what the InferenceService is made of, `config.json` what the predictor reads.
"""

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import KIND_MODELRELEASE, LABEL_NAME, LABEL_REVISION, LABEL_ROLE
from graft_core.api.v1alpha1.serving import SERVER_ENGINES, EngineSpec
from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.errors import Corrupt
from graft_operator.render.kube.engine_server import render_engine_config
from graft_operator.render.kube.labels import MANAGED_BY, owner_labels, owner_reference
from graft_operator.render.kube.predictor_pod import (
    ADAPTER_DIR,
    ArmModel,
    PodAccess,
    PredictorDefaults,
    render_predictor_pod,
)
from graft_operator.render.names import arm_name
from graft_operator.render.predictor_config import render_predictor_config

__all__ = ["RECORD_ROLE", "Recipe", "read_recipe", "record_name", "render_record"]

RECORD_ROLE: Final = "recipe"
"""Role label of records."""


class Recipe(BaseModel):
    """What an arm is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    digest: str
    predictor: dict[str, Any]
    """`spec.predictor` without name, count and percent."""
    min_replicas: int
    max_replicas: int


def record_name(release: ModelRelease, revision: str) -> str:
    """Name the record of a revision."""
    return arm_name(release.metadata.name, release.metadata.uid, revision)


def render_record(
    release: ModelRelease, model: ArmModel, *, access: PodAccess, defaults: PredictorDefaults, is_knative: bool
) -> dict[str, Any]:
    """Render the record of what a release wants now.

    Args:
        release: An accepted release.
        model: What the arm serves.
        access: Secrets that the pod needs.
        defaults: The operator's own.
        is_knative: Whether Knative runs the arm.

    Returns:
        The ConfigMap.
    """
    meta, name = release.metadata, record_name(release, model.revision)
    config = _config(release, model, is_knative=is_knative)
    replicas = release.spec.predictor.replicas
    recipe = Recipe(
        revision=model.revision,
        digest=model.digest,
        predictor=render_predictor_pod(
            release, model, config_map=name, access=access, defaults=defaults, is_knative=is_knative
        ),
        min_replicas=1 if replicas is None else replicas.min,
        max_replicas=1 if replicas is None else replicas.max,
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": {
                **MANAGED_BY,
                **owner_labels(meta.uid),
                LABEL_NAME: meta.name,
                LABEL_REVISION: model.revision,
                LABEL_ROLE: RECORD_ROLE,
            },
            "ownerReferences": [owner_reference(meta, KIND_MODELRELEASE)],
        },
        "immutable": True,
        "data": {
            "config.json": config.to_json(),
            "recipe.json": json.dumps(recipe.model_dump(mode="json"), sort_keys=True, ensure_ascii=False),
        },
    }


def read_recipe(record: dict[str, Any]) -> Recipe:
    """Read a record.

    Args:
        record: The ConfigMap.

    Returns:
        Its recipe.

    Raises:
        Corrupt: It is none that Graft wrote.
    """
    name = record["metadata"]["name"]
    try:
        return Recipe.model_validate_json(record.get("data", {}).get("recipe.json", ""))
    except ValidationError as error:
        raise Corrupt(
            f"ConfigMap {name!r} has no recipe.json as Graft writes it; delete it to have it written again"
        ) from error


def _config(release: ModelRelease, model: ArmModel, *, is_knative: bool) -> PredictorConfig:
    # The init container has copied the adapter there; in Knative mode there is none, and the predictor copies it itself.
    uri = model.uri if is_knative else f"file://{ADAPTER_DIR}/"
    log = release.spec.request_log
    if log is not None:
        # Its credentials are in the environment.
        log = log.model_copy(update={"secret_ref": None})
    plain = release.model_copy(update={"spec": release.spec.model_copy(update={"request_log": log})})
    if release.spec.engine.type not in SERVER_ENGINES:
        return render_predictor_config(plain, revision=model.revision, uri=uri, digest=model.digest)
    bare = plain.model_copy(update={"spec": plain.spec.model_copy(update={"engine": EngineSpec()})})
    config = render_predictor_config(bare, revision=model.revision, uri=uri, digest=model.digest)
    return config.model_copy(update={"engine": render_engine_config(release, model.base, model.digest)})
