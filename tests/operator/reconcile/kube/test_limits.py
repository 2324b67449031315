"""What a release must not ask of a cluster, and which adapter it stands for there."""

from typing import Any

import pytest

from graft_core.api.base import SecretRef
from graft_core.api.v1alpha1.finetunejob import ArtifactStatus, FineTuneJob, FineTuneJobStatus, GateStatus
from graft_operator.reconcile.kube.limits import find_limits
from graft_operator.reconcile.kube.records import KEEP, find_prunable
from graft_operator.reconcile.kube.target import find_job, resolve_cluster_target, secrets_of
from graft_operator.reconcile.kube.view import MAX_NAME, Strategy
from graft_operator.reconcile.observed import NotYet, Policy, Refused, Target
from graft_operator.render.revision import revision_of
from tests.builders import BASE_REVISION, a_finetunejob, a_release
from tests.operator.reconcile.kube.releases import a_kube_view, a_predictor, a_service, a_status
from tests.operator.reconcile.views import BLUE, a_condition

IMAGE = "e@sha256:" + "3" * 64
DIGEST = "sha256:" + "e" * 64


def limits(spec: dict[str, Any] | None = None, **fields: Any) -> list[tuple[str, str]]:
    name = fields.pop("name", "shop")
    given: dict[str, Any] = {"prometheus_urls": (), "is_knative": False, "adapter": None, "service": None, **fields}
    return [(found.path, found.reason) for found in find_limits(a_release(spec, name=name), **given)]


def an_engine(kind: str = "vllm", **fields: Any) -> dict[str, Any]:
    return {"engine": {"type": kind, "image": IMAGE, **fields}}


LOG = {"requestLog": {"uri": "s3://lake/log/", "secretRef": {"name": "log"}}}
SCALED = {"predictor": {"replicas": {"min": 1, "max": 3}}}
SOURCE = {"rollout": {"analysis": {"source": {"prometheus": {"url": "http://prometheus:9090"}}}}}
FIXED = a_service("shop", {}, annotations={"serving.kserve.io/autoscalerClass": "none"})


@pytest.mark.parametrize(
    ("spec", "fields", "found"),
    [
        ({}, {}, []),
        ({}, {"name": "s" * (MAX_NAME + 1)}, [("metadata.name", "InvalidSpec")]),
        (SOURCE, {}, [("spec.rollout.analysis.source.prometheus.url", "PolicyDenied")]),
        (SOURCE, {"prometheus_urls": ("http://prometheus:9090",)}, []),
        (LOG, {"is_knative": True, "adapter": SecretRef(name="lake")}, [("spec.requestLog.secretRef", "NotSupported")]),
        (LOG, {"is_knative": True, "adapter": SecretRef(name="log")}, []),
        (LOG, {"adapter": SecretRef(name="lake")}, []),
        (SCALED, {"service": FIXED}, [("spec.predictor.replicas", "NotSupported")]),
        (SCALED, {}, []),
        (an_engine(), {}, []),
        (an_engine(image="vllm/vllm-openai:latest"), {}, [("spec.engine.image", "InvalidSpec")]),
        (an_engine("tgi", image=None), {}, [("spec.engine.image", "InvalidSpec")]),
        (an_engine(), {"is_knative": True}, [("spec.engine.type", "NotSupported")]),
        (an_engine(args=["--max-model-len=9", "--trust-remote-code"]), {}, [("spec.engine.args[1]", "PolicyDenied")]),
        (an_engine("tgi", args=["--hostname=0.0.0.0"]), {}, [("spec.engine.args[0]", "PolicyDenied")]),
        (an_engine("transformers"), {}, [("spec.engine.image", "NotSupported")]),
        (
            {"engine": {"resources": {"gpus": 2, "memory": "1Gi"}}},
            {},
            [("spec.engine.resources.memory", "NotSupported"), ("spec.engine.resources.gpus", "NotSupported")],
        ),
    ],
)
def test_what_stands_in_the_way(spec: dict[str, Any], fields: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert limits(spec, **fields) == found


def a_job(condition: str = "Complete", *gates: GateStatus, **spec: Any) -> FineTuneJob:
    artifact = ArtifactStatus(
        uri="s3://lake/a/", digest=DIGEST, size_bytes=1, base_model="Qwen/Qwen2.5-0.5B", base_revision=BASE_REVISION
    )
    status = FineTuneJobStatus(conditions=(a_condition(condition),), artifact=artifact, gates=gates)
    return a_finetunejob(spec, status=status)


BY_NAME = {"model": {"fineTuneJobRef": {"name": "tune"}}}
BY_DIGEST = {"model": {"fineTuneJobRef": None, "adapter": {"uri": "s3://copy/a/", "digest": DIGEST}}}
OTHER_DIGEST = {"model": {"fineTuneJobRef": None, "adapter": {"uri": "s3://copy/a/", "digest": "sha256:" + "f" * 64}}}


@pytest.mark.parametrize(
    ("spec", "job", "policy", "reason"),
    [
        (BY_NAME, None, Policy(), "JobMissing"),
        (BY_NAME, a_job("Trained"), Policy(), "JobNotFinished"),
        (BY_NAME, a_job("Failed"), Policy(), "JobFailed"),
        (BY_NAME, a_job("Complete", GateStatus(metric="m", result="Fail")), Policy(), "GatesFailed"),
        (BY_NAME, a_job(model={"revision": "f" * 40}), Policy(), "BaseMismatch"),
        (BY_NAME, a_job(), Policy(allowed_licenses=frozenset({"mit"})), "PolicyDenied"),
        (OTHER_DIGEST, a_job(), Policy(), "ArtifactUnknown"),
    ],
    ids=["no job", "still runs", "failed", "a gate", "another base", "its licence", "a digest nobody published"],
)
def test_why_there_is_no_target(spec: dict[str, Any], job: FineTuneJob | None, policy: Policy, reason: str) -> None:
    release = a_release(spec)
    found = resolve_cluster_target(
        release.spec, find_job(release.spec, [job] if job is not None else []), policy, revision_of
    )
    assert isinstance(found, NotYet | Refused)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("spec", "uri"), [(BY_NAME, "s3://lake/a/"), (BY_DIGEST, "s3://copy/a/")], ids=["name", "digest"]
)
def test_a_job_that_is_complete_is_the_word_on_its_adapter(spec: dict[str, Any], uri: str) -> None:
    release = a_release(spec)
    job = find_job(release.spec, [a_finetunejob(name="other"), a_job()])
    found = resolve_cluster_target(release.spec, job, Policy(allowed_licenses=frozenset({"apache-2.0"})), revision_of)
    assert isinstance(found, Target)
    assert (found.uri, found.digest, found.base_revision) == (uri, DIGEST, BASE_REVISION)


def test_secrets_are_named_and_never_read() -> None:
    job = a_job(output={"secretRef": {"name": "lake"}}, model={"tokenSecretRef": {"name": "hub", "key": "token"}})
    adapter, hub = secrets_of(job)
    assert adapter is not None
    assert hub is not None
    assert (adapter.name, hub.name, hub.key) == ("lake", "hub", "token")
    assert secrets_of(None) == (None, None)


def test_recipes_go_oldest_first_but_none_that_may_be_needed() -> None:
    names = [f"{number:010x}" for number in range(KEEP + 3)]
    spec = {"predictor": a_predictor(names[0], f"r{names[0]}")}
    view = a_kube_view(
        Strategy.WEIGHTS,
        a_status(BLUE),
        services={"shop": a_service("shop", spec)},
        records=dict.fromkeys(names, DIGEST),
    )
    assert find_prunable(view, a_status(names[1])) == (names[2], names[3], names[4])
    few = a_kube_view(Strategy.WEIGHTS, records=dict.fromkeys(names[:KEEP], DIGEST))
    assert find_prunable(few, a_status()) == ()
