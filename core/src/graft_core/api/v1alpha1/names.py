"""Every string of Graft's own that the cluster sees."""

from typing import Final

__all__ = [
    "API_VERSION",
    "FINALIZER",
    "GROUP",
    "KIND_FINETUNEJOB",
    "KIND_MODELRELEASE",
    "LABEL_NAME",
    "LABEL_REVISION",
    "LABEL_ROLE",
    "LABEL_UID",
    "PLURALS",
    "VERSION",
]

GROUP: Final = "graft.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "graft.dev/v1alpha1"
KIND_FINETUNEJOB: Final = "FineTuneJob"
KIND_MODELRELEASE: Final = "ModelRelease"
PLURALS: Final = {KIND_FINETUNEJOB: "finetunejobs", KIND_MODELRELEASE: "modelreleases"}
FINALIZER: Final = f"{GROUP}/finalizer"
LABEL_NAME: Final = f"{GROUP}/name"
LABEL_UID: Final = f"{GROUP}/uid"
LABEL_ROLE: Final = f"{GROUP}/role"
LABEL_REVISION: Final = f"{GROUP}/revision"
