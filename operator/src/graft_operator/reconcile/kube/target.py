"""Which adapter a release stands for, on a cluster: the operator holds no credentials of any object store, so a job's status is its word.

A FineTuneJob's status is written by the operator alone, from the report of a trainer that verified what it had published. What a status
cannot know, that the bytes are still those, the arm's own pod proves before it is ready: its init container copies the adapter file by file
against the manifest's SHA-256, and refuses a manifest with another digest or with gates that did not pass (docs/adr).
"""

from collections.abc import Callable, Iterable

from graft_core.api.base import SecretKeyRef, SecretRef
from graft_core.api.conditions import is_condition
from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.v1alpha1.modelrelease import ModelReleaseSpec
from graft_operator.reconcile.observed import Policy, Refused, Target, Wanted
from graft_operator.reconcile.target import check_job, find_denied_license, find_failed_gates

__all__ = ["find_job", "resolve_cluster_target", "secrets_of"]


def find_job(spec: ModelReleaseSpec, jobs: Iterable[FineTuneJob]) -> FineTuneJob | None:
    """Find the job that published what the release wants, by name or by the adapter's digest; of several, one that is Complete."""
    model = spec.model
    found = [
        job
        for job in jobs
        if (model.fine_tune_job_ref is not None and job.metadata.name == model.fine_tune_job_ref.name)
        or (
            model.adapter is not None
            and job.status.artifact is not None
            and job.status.artifact.digest == model.adapter.digest
        )
    ]
    complete = [job for job in found if is_condition(job.status.conditions, "Complete")]
    return next(iter(complete or found), None)


def resolve_cluster_target(
    spec: ModelReleaseSpec,
    job: FineTuneJob | None,
    policy: Policy,
    revision_of: Callable[[ModelReleaseSpec, str], str],
) -> Wanted:
    """Resolve `spec.model` by the job that published it.

    Args:
        spec: The release's.
        job: As `find_job` found it in the release's namespace.
        policy: Which licences may be served.
        revision_of: `render.revision.revision_of`.

    Returns:
        The target, or why there is none.
    """
    ref, adapter = spec.model.fine_tune_job_ref, spec.model.adapter
    name = ref.name if ref is not None else job.metadata.name if job is not None else ""
    if job is None and adapter is not None:
        return Refused(
            "ArtifactUnknown",
            f"no FineTuneJob of this namespace has published {adapter.digest}: its base, licence and gates are not known",
        )
    obstacle = check_job(name, job)
    if obstacle is not None or job is None or job.status.artifact is None:
        return obstacle or Refused("JobMissing", f"there is no FineTuneJob {name!r}")
    artifact = job.status.artifact
    uri = adapter.uri if adapter is not None else artifact.uri
    return _find_fault(job, policy) or Target(
        revision=revision_of(spec, artifact.digest),
        uri=uri,
        digest=artifact.digest,
        base_model=artifact.base_model,
        base_revision=artifact.base_revision,
        task=job.spec.task.type.value,
    )


def secrets_of(job: FineTuneJob | None) -> tuple[SecretRef | None, SecretKeyRef | None]:
    """Name the Secrets, by which an arm's pod reads what the job published and its base model; the operator never reads them."""
    if job is None:
        return None, None
    return job.spec.output.secret_ref, job.spec.model.token_secret_ref


def _find_fault(job: FineTuneJob, policy: Policy) -> Refused | None:
    failed = find_failed_gates(job.status.gates)
    if failed is not None:
        return failed
    base, artifact = job.spec.model, job.status.artifact
    if artifact is not None and (artifact.base_model, artifact.base_revision) != (
        base.id,
        base.revision or artifact.base_revision,
    ):
        told = f"{artifact.base_model} at {artifact.base_revision}, its job says {base.id} at {base.revision or 'its digest'}"
        return Refused("BaseMismatch", f"the adapter was made for {told}")
    return find_denied_license(base.license, policy)
