"""What a spec says that no schema or CEL rule can refuse, and what the operator's policy does not allow."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.metrics import metric_names, per_class_metric_names
from graft_core.api.v1alpha1.modelrelease import ModelReleaseSpec
from graft_core.tasks.check import find_task_faults
from graft_operator.reconcile.observed import Policy
from graft_operator.reconcile.support import Refusal

__all__ = ["find_job_faults", "find_policy_faults", "find_release_faults"]


def find_job_faults(job: FineTuneJob) -> tuple[Refusal, ...]:
    """List a task that could not be rendered or judged, and the gates that could never be judged."""
    evaluation = job.spec.evaluation
    known, by_class = metric_names(job.spec.task), per_class_metric_names(job.spec.task)
    found = [Refusal(fault.path, str(fault), "InvalidSpec") for fault in find_task_faults(job.spec.task)]
    for index, gate in enumerate(evaluation.gates):
        path = f"spec.evaluation.gates[{index}]"
        if gate.metric not in known:
            found.append(_invalid(f"{path}.metric", f"{gate.metric!r} is not measured for this task", sorted(known)))
        elif gate.per_class and gate.metric not in by_class:
            found.append(_invalid(f"{path}.perClass", f"{gate.metric!r} has no classes", sorted(by_class)))
        if gate.versus == "base" and evaluation.baseline == "none":
            found.append(
                Refusal(
                    f"{path}.versus",
                    f"{path}.versus 'base' needs spec.evaluation.baseline: base, found 'none'",
                    "InvalidSpec",
                )
            )
    return tuple(found)


def find_policy_faults(job: FineTuneJob, policy: Policy) -> tuple[Refusal, ...]:
    """List what the operator's policy does not allow."""
    runtime = job.spec.runtime
    found: list[Refusal] = []
    if policy.allowed_licenses is not None:
        found += _license_faults(job, policy.allowed_licenses)
    if not policy.has_default_store and job.spec.output.uri is None:
        path = "spec.output.uri"
        found.append(Refusal(path, f"{path} is not set, and this operator has no store of its own", "PolicyDenied"))
    if policy.allowed_node_selector_keys is not None and runtime.node_selector:
        found += _key_faults("spec.runtime.nodeSelector", runtime.node_selector, policy.allowed_node_selector_keys)
    if policy.allowed_toleration_keys is not None and runtime.tolerations:
        keys = [one.key for one in runtime.tolerations]
        found += _key_faults("spec.runtime.tolerations", keys, policy.allowed_toleration_keys)
    return tuple(found)


def find_release_faults(spec: ModelReleaseSpec) -> tuple[Refusal, ...]:
    """List rollout steps that do not rise: a later step must never take traffic back."""
    path = "spec.rollout.steps"
    weights = [step.weight for step in spec.rollout.steps]
    if weights == sorted(set(weights)):
        return ()
    return tuple(
        Refusal(f"{path}[{index}].weight", f"{path}[{index}].weight {b} must be above {a}", "InvalidSpec")
        for index, (a, b) in enumerate(pairwise(weights), start=1)
        if b <= a
    )


def _invalid(path: str, what: str, known: list[str]) -> Refusal:
    return Refusal(path, f"{path}: {what}; expected one of {', '.join(known) or 'none'}", "InvalidSpec")


def _license_faults(job: FineTuneJob, allowed: frozenset[str]) -> Iterator[Refusal]:
    path = "spec.model.license"
    if job.spec.model.license in allowed:
        return
    found = f"{job.spec.model.license!r} is not allowed" if job.spec.model.license else "is not set"
    message = f"{path} {found}; the operator allows {', '.join(sorted(allowed)) or 'none'}"
    yield Refusal(path, message, "PolicyDenied")


def _key_faults(path: str, keys: Iterable[str], allowed: frozenset[str]) -> Iterator[Refusal]:
    for key in keys:
        if key not in allowed:
            message = f"{path}: key {key!r} is not allowed; the operator allows {', '.join(sorted(allowed)) or 'none'}"
            yield Refusal(path, message, "PolicyDenied")
