"""Which adapter a release's `spec.model` stands for, and whether it may be served: job, gates, digest, base and engine limits.

spec.model        what is found                                           the target
fineTuneJobRef    no such job                                             NotYet/JobMissing
fineTuneJobRef    the job runs                                            NotYet/JobNotFinished
fineTuneJobRef    the job failed, or a gate is not Pass                   Refused/JobFailed or /GatesFailed
any               the store does not answer                               NotYet/StoreUnreachable
any               no manifest, one that does not verify                   Refused/ArtifactMissing or /ArtifactCorrupt
any               digest, base or a gate is not what was promised         Refused/DigestMismatch, /BaseMismatch or /GatesFailed
any               the licence is not allowed                              Refused/PolicyDenied
any               all of it fits                                          Target
"""

from collections.abc import Callable, Sequence

from graft_core.api.conditions import find_condition, is_condition
from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.jobstatus import GateStatus
from graft_core.api.v1alpha1.modelrelease import ModelReleaseSpec
from graft_core.contracts.adapter_manifest import AdapterManifest
from graft_operator.reconcile.observed import (
    ArtifactAbsent,
    ArtifactCorrupt,
    ArtifactFound,
    ArtifactState,
    ArtifactUnreachable,
    NotYet,
    Policy,
    Refused,
    Target,
    Wanted,
)

__all__ = ["check_job", "find_denied_license", "find_failed_gates", "resolve_target"]


def check_job(name: str, job: FineTuneJob | None) -> NotYet | Refused | None:
    """Say why a job's adapter can't be served; None where the job is Complete, and its artifact is to be read.

    Args:
        name: `spec.model.fineTuneJobRef.name`.
        job: What lies under that name in the release's namespace.

    Returns:
        The obstacle, if there is one.
    """
    if job is None:
        return NotYet(
            "JobMissing", f"there is no FineTuneJob {name!r} in this namespace; apply it, or change spec.model"
        )
    conditions = job.status.conditions
    if is_condition(conditions, "Failed"):
        failed = find_condition(conditions, "Failed")
        reason = failed.reason if failed is not None else "Failed"
        told = failed.message if failed is not None else ""
        is_gates = reason == "GatesFailed"
        return Refused("GatesFailed" if is_gates else "JobFailed", f"FineTuneJob {name!r} ended {reason}: {told}")
    if not is_condition(conditions, "Complete") or job.status.artifact is None:
        return NotYet(
            "JobNotFinished", f"FineTuneJob {name!r} is {job.status.phase.value}; waiting until it is Complete"
        )
    return None


def resolve_target(
    spec: ModelReleaseSpec,
    job: FineTuneJob | None,
    artifact: ArtifactState,
    policy: Policy,
    revision_of: Callable[[ModelReleaseSpec, str], str],
) -> Wanted:
    """Resolve `spec.model` into what would be served.

    Args:
        spec: An accepted spec: fineTuneJobRef or adapter is set.
        job: The job that fineTuneJobRef names; None with adapter, or where there is none.
        artifact: What lies at the job's `status.artifact.uri`, or at `adapter.uri`.
        policy: Which licences may be served.
        revision_of: `render.revision.revision_of`.

    Returns:
        The target, or why there is none.
    """
    ref, adapter = spec.model.fine_tune_job_ref, spec.model.adapter
    if ref is not None:
        obstacle = check_job(ref.name, job)
        if obstacle is not None:
            return obstacle
    promised = job.status.artifact if job is not None else None
    digest = promised.digest if promised is not None else adapter.digest if adapter is not None else ""
    match artifact:
        case ArtifactUnreachable(message=message):
            return NotYet("StoreUnreachable", f"{message}; trying again")
        case ArtifactAbsent():
            return Refused("ArtifactMissing", f"no manifest of {digest} is in the store; was the artifact removed?")
        case ArtifactCorrupt(message=message):
            return Refused("ArtifactCorrupt", f"the artifact does not verify: {message}")
        case ArtifactFound(manifest=manifest, uri=uri):
            fault = _find_fault(manifest, digest, job, policy)
            if fault is not None:
                return fault
            return Target(
                revision=revision_of(spec, manifest.digest),
                uri=uri,
                digest=manifest.digest,
                base_model=manifest.base_model.id,
                base_revision=manifest.base_model.revision,
                task=manifest.task.type.value,
            )


def find_failed_gates(gates: Sequence[GateStatus]) -> Refused | None:
    """Refuse an adapter with a gate that is anything but Pass."""
    failed = [f"{gate.metric} {gate.result}" for gate in gates if gate.result != "Pass"]
    return Refused("GatesFailed", f"the adapter did not pass its gates: {', '.join(failed)}") if failed else None


def find_denied_license(name: str | None, policy: Policy) -> Refused | None:
    """Refuse a base whose licence the operator does not allow."""
    if policy.allowed_licenses is None or name in policy.allowed_licenses:
        return None
    allowed = ", ".join(sorted(policy.allowed_licenses)) or "none"
    return Refused("PolicyDenied", f"the base's license is {name!r}; the operator allows {allowed}")


def _find_fault(manifest: AdapterManifest, digest: str, job: FineTuneJob | None, policy: Policy) -> Refused | None:
    if manifest.digest != digest:
        return Refused("DigestMismatch", f"the manifest's digest is {manifest.digest!r}, expected {digest!r}")
    failed = find_failed_gates(manifest.gates)
    if failed is not None:
        return failed
    base = manifest.base_model
    if job is not None and (
        base.id != job.spec.model.id or base.revision != (job.spec.model.revision or base.revision)
    ):
        wanted = f"{job.spec.model.id} at {job.spec.model.revision or 'its digest'}"
        return Refused("BaseMismatch", f"the adapter was made for {base.id} at {base.revision}, its job says {wanted}")
    return find_denied_license(base.license, policy)
