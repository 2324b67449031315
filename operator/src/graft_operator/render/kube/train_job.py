"""The train child as a Kubeflow TrainJob, for more than one node: a TrainingRuntime with the whole pod, and the TrainJob that runs it.

A TrainingRuntime of our own, instead of a cluster's `torch-distributed`, because only there the whole pod can be written: what a TrainJob
may patch in a foreign runtime has changed with each release of Kubeflow Trainer (podSpecOverrides in 2.0, podTemplateOverrides in 2.1,
runtimePatches in 2.2), and a pod that isn't ours would not pass Pod Security `restricted`. `numProcPerNode` stands in the TrainJob alone:
2.2 took it out of the runtime.

Of the pods of one training either all run or none does, so a lost pod restarts them all (JobSet's failurePolicy). JobSet can't tell a
disruption from a fault, so here preemptions count against maxRestarts. Kubeflow's API: https://www.kubeflow.org/docs/components/trainer.
"""

from typing import Any, Final

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_operator.render.kube.child import ChildPlan
from graft_operator.render.kube.job import render_final_policy, render_job_metadata
from graft_operator.render.kube.labels import child_labels, owner_reference
from graft_operator.render.kube.pod import PodDefaults, render_pod_template

__all__ = ["NODE", "render_train_job", "render_training_runtime"]

API_VERSION: Final = "trainer.kubeflow.org/v1alpha1"
NODE: Final = "node"
"""Name of the replicated job and of its container; Kubeflow's torch plugin looks for both."""
ANCESTOR: Final = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
"""Without it the torch plugin passes the job by."""


def render_training_runtime(job: FineTuneJob, child: ChildPlan, *, defaults: PodDefaults) -> dict[str, Any]:
    """Render the TrainingRuntime; made before the TrainJob, whose webhook asks for it.

    Args:
        job: The owner.
        child: What it is made from.
        defaults: The operator's own.

    Returns:
        The object.
    """
    template = render_pod_template(job, child, defaults, container=NODE)
    replicated = {
        "name": NODE,
        "template": {
            "metadata": {"labels": ANCESTOR},
            "spec": {
                # One lost pod ends the Job, and JobSet starts all of them again: the others wait for it in vain.
                "backoffLimit": 0,
                "podReplacementPolicy": "Failed",
                "podFailurePolicy": render_final_policy(NODE),
                "template": template,
            },
        },
    }
    failure_policy = {
        "maxRestarts": child.max_restarts,
        "rules": [{"name": "final", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
    }
    meta = job.metadata
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingRuntime",
        "metadata": {
            "name": child.name,
            "namespace": meta.namespace,
            "labels": child_labels(meta, child.role) | {"trainer.kubeflow.org/framework": "torch"},
            "ownerReferences": [owner_reference(meta)],
        },
        "spec": {
            "mlPolicy": {"numNodes": job.spec.resources.nodes, "torch": {}},
            "template": {"spec": {"failurePolicy": failure_policy, "replicatedJobs": [replicated]}},
        },
    }


def render_train_job(job: FineTuneJob, child: ChildPlan) -> dict[str, Any]:
    """Render the TrainJob of the train child; suspended where a queue is to admit it."""
    resources = job.spec.resources
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainJob",
        "metadata": render_job_metadata(job, child),
        "spec": {
            "runtimeRef": {"apiGroup": API_VERSION.partition("/")[0], "kind": "TrainingRuntime", "name": child.name},
            "suspend": job.spec.runtime.queue_name is not None,
            "trainer": {"numNodes": resources.nodes, "numProcPerNode": max(1, resources.gpus)},
        },
    }
