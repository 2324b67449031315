"""Labels and owner of everything that is made for an object: by them it is found again, and by nothing else."""

from typing import Any, Final

from graft_core.api.base import ObjectMeta
from graft_core.api.v1alpha1.names import API_VERSION, KIND_FINETUNEJOB, LABEL_NAME, LABEL_ROLE, LABEL_UID

__all__ = ["MANAGED_BY", "child_labels", "owner_labels", "owner_reference"]

MANAGED_BY: Final = {"app.kubernetes.io/managed-by": "graft"}
"""The label that people look for."""


def owner_labels(uid: str) -> dict[str, str]:
    """Return the labels that select everything of one object."""
    return {LABEL_UID: uid}


def child_labels(meta: ObjectMeta, role: str) -> dict[str, str]:
    """Label what is made for a FineTuneJob.

    Args:
        meta: The FineTuneJob's.
        role: check, train or request.

    Returns:
        Labels of the object, and of its pods.
    """
    return {
        **MANAGED_BY,
        "app.kubernetes.io/name": "graft-trainer",
        "app.kubernetes.io/component": role,
        LABEL_NAME: meta.name,
        LABEL_ROLE: role,
        **owner_labels(meta.uid),
    }


def owner_reference(meta: ObjectMeta, kind: str = KIND_FINETUNEJOB) -> dict[str, Any]:
    """Refer to the owner as its controller.

    `blockOwnerDeletion` is left out: Graft's finalizer holds the owner while it is needed, and setting it would ask for the right to
    update the owner's finalizers where OwnerReferencesPermissionEnforcement is on.
    """
    return {"apiVersion": API_VERSION, "kind": kind, "name": meta.name, "uid": meta.uid, "controller": True}
