"""A revision's recipe, written before the arm that is made of it: one immutable ConfigMap, mounted by its pods, read again to go back.

Its name follows from the release's uid and the revision, its content is that of the first time: an operator that is updated gives a running
revision no other pod. `recipe.json` is what the InferenceService is made of, `config.json` what the predictor reads.
"""

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import KIND_MODELRELEASE, LABEL_NAME, LABEL_REVISION, LABEL_ROLE
from graft_core.errors import Corrupt
from graft_operator.render.kube.labels import MANAGED_BY, owner_labels, owner_reference
from graft_operator.render.kube.predictor_pod import ADAPTER_DIR, PodAccess, PredictorDefaults, render_predictor_pod
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
    release: ModelRelease,
    *,
    revision: str,
    uri: str,
    digest: str,
    access: PodAccess,
    defaults: PredictorDefaults,
    is_knative: bool,
) -> dict[str, Any]:
    """Render the record of what a release wants now.

    Args:
        release: An accepted release.
        revision: The revision.
        uri: Folder of the adapter.
        digest: Digest its manifest must have.
        access: Secrets that the pod needs.
        defaults: The operator's own.
        is_knative: Whether Knative runs the arm.

    Returns:
        The ConfigMap.
    """
    meta, name = release.metadata, record_name(release, revision)
    # The init container has copied the adapter there; in Knative mode there is none, and the predictor copies it itself.
    found_at = uri if is_knative else f"file://{ADAPTER_DIR}/"
    config = render_predictor_config(release, revision=revision, uri=found_at, digest=digest)
    if config.request_log is not None:
        # Its credentials are in the environment.
        config = config.model_copy(update={"request_log": config.request_log.model_copy(update={"secret_ref": None})})
    replicas = release.spec.predictor.replicas
    recipe = Recipe(
        revision=revision,
        digest=digest,
        predictor=render_predictor_pod(
            release,
            revision=revision,
            uri=uri,
            digest=digest,
            config_map=name,
            access=access,
            defaults=defaults,
            is_knative=is_knative,
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
                LABEL_REVISION: revision,
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
