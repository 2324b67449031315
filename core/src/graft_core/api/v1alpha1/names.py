"""Every string of Graft's own that the cluster sees."""

from typing import Final

__all__ = [
    "ANNOTATION_PINNED",
    "ANNOTATION_STALLS",
    "ANNOTATION_STOPPED",
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
    "QUEUE_LABEL",
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
ANNOTATION_STOPPED: Final = f"{GROUP}/stopped"
"""On a request ConfigMap, with `-<role>` behind it: why Graft took the role's Job away. Suspend, Watchdog or End."""
ANNOTATION_PINNED: Final = f"{GROUP}/pinned"
"""On a request ConfigMap: what the check saw, as JSON, while the train Job is taken away."""
ANNOTATION_STALLS: Final = f"{GROUP}/stalls"
"""On a Job: uids of the pods that the watchdog stopped, separated by spaces."""
LABEL_REVISION: Final = f"{GROUP}/revision"
QUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
"""Kueue's: names the LocalQueue that admits a Job."""
