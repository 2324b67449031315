"""What the cluster shell carries out of a ModelRelease, as a difference to the local one: `support` explains the tables."""

from typing import Final

from graft_core.api.v1alpha1.serving import EngineType
from graft_operator.reconcile.support import (
    LOCAL_SHELL,
    Capabilities,
    KindSupport,
    RefusedValue,
    is_one_of,
    starts_with,
)

__all__ = ["CLUSTER_MODELRELEASE", "ON_CLUSTER"]

_LOCAL: Final = LOCAL_SHELL.modelrelease

_HERE: Final = {
    "spec.deploymentMode": "spec.deploymentMode",
    "spec.engine.image": "spec.engine.image",
    "spec.engine.quantize": "spec.engine.quantize",
    "spec.engine.resources.memory": "spec.engine.resources.memory",
    "spec.predictor.replicas": "spec.predictor.replicas",
    "spec.requestLog?.secretRef": "spec.requestLog.secretRef",
    "spec.rollout.analysis.source?.prometheus": "spec.rollout.analysis.source.prometheus",
}
"""Fields that need KServe, pods or a Prometheus, as the tables write them refused and used; `kube.limits` rules on some together."""

_NOT_HERE: Final = {"spec.rollout.stickyHeader": None}
"""The Gateway API splits at random; keeping a user on an arm needs a router of our own."""


CLUSTER_MODELRELEASE: Final = KindSupport(
    used=(*(path for path in _LOCAL.used if path not in _NOT_HERE), *_HERE.values()),
    refused={path: unset for path, unset in _LOCAL.refused.items() if path not in _HERE} | _NOT_HERE,
    values=(
        *(rule for rule in _LOCAL.values if rule.path not in {"spec.engine.type", "spec.engine.resources.gpus"}),
        RefusedValue(
            "spec.engine.type",
            is_one_of(EngineType.OPENAI, EngineType.HUGGINGFACE, EngineType.SAGEMAKER),
            "use transformers, tgi or vllm",
        ),
        RefusedValue("spec.model.adapter?.uri", starts_with("file:"), "use s3://: a pod's own files go with it"),
        RefusedValue("spec.requestLog?.uri", starts_with("file:"), "use s3://: a pod's own files go with it"),
        RefusedValue(
            "spec.predictor.replicas?.min",
            lambda value: value == 0,
            "use 1 or more: an arm without pods can be neither ready nor judged",
        ),
    ),
)
"""On a cluster with KServe."""

ON_CLUSTER: Final = Capabilities(finetunejob=LOCAL_SHELL.finetunejob, modelrelease=CLUSTER_MODELRELEASE)
"""For passes over ModelReleases; what a job may ask for depends on the cluster and is the job shell's to say."""
