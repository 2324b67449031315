"""A child as a batch/v1 Job of one pod; what may end it, and what only delays it, follows from `exit_codes` alone."""

from typing import Any, Final

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.names import QUEUE_LABEL
from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass, is_restart_counted, is_restartable
from graft_core.contracts.pod import CONTAINER
from graft_operator.render.kube.child import ChildPlan
from graft_operator.render.kube.labels import child_labels, owner_reference
from graft_operator.render.kube.pod import PodDefaults, render_pod_template

__all__ = ["render_final_policy", "render_job", "render_job_metadata"]

FINAL_CODES: Final = sorted(
    code for kind, code in EXIT_CODES.items() if kind is not ExitClass.SUCCEEDED and not is_restartable(kind)
)
"""A restart would end the same way: bad data, a refused policy, a bug."""
FREE_CODES: Final = sorted(
    code for kind, code in EXIT_CODES.items() if is_restartable(kind) and not is_restart_counted(kind)
)
"""Nobody's fault: the trainer was told to leave, and saved."""


def render_job(job: FineTuneJob, child: ChildPlan, *, defaults: PodDefaults) -> dict[str, Any]:
    """Render the Job of a child.

    There is no activeDeadlineSeconds and no ttlSecondsAfterFinished: the deadline of a FineTuneJob stands still while it is suspended
    and holds over both children, and its report must be readable until it is written down; both are `decide`'s.

    Args:
        job: The owner.
        child: What it is made from.
        defaults: The operator's own.

    Returns:
        The object; suspended where a queue is to admit it.
    """
    template = render_pod_template(job, child, defaults)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": render_job_metadata(job, child),
        "spec": {
            "suspend": job.spec.runtime.queue_name is not None,
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": child.max_restarts,
            # A pod on a node that is gone may still write; another one starts only when this one is known to have ended.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": _failure_policy(),
            "template": template,
        },
    }


def render_job_metadata(job: FineTuneJob, child: ChildPlan) -> dict[str, Any]:
    """Render the metadata of a child's Job or TrainJob."""
    meta, queue = job.metadata, job.spec.runtime.queue_name
    return {
        "name": child.name,
        "namespace": meta.namespace,
        "labels": child_labels(meta, child.role) | ({} if queue is None else {QUEUE_LABEL: queue}),
        "ownerReferences": [owner_reference(meta)],
    }


def render_final_policy(container: str) -> dict[str, Any]:
    """Render the podFailurePolicy that ends a Job at once where a restart would end the same way."""
    codes = {"containerName": container, "operator": "In", "values": FINAL_CODES}
    return {"rules": [{"action": "FailJob", "onExitCodes": codes}]}


def _failure_policy() -> dict[str, Any]:
    """Render podFailurePolicy; what no rule matches counts against backoffLimit.

    The order matters: a trainer that found bad data while its node was being drained has failed for good.
    """
    free = {"containerName": CONTAINER, "operator": "In", "values": FREE_CODES}
    return {
        "rules": [
            *render_final_policy(CONTAINER)["rules"],
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "Ignore", "onExitCodes": free},
        ]
    }
