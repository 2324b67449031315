"""Every used field has an effect: changing it changes what children are given, what is decided, or what the gateway does."""

from dataclasses import replace
from typing import Any

import pytest

from graft_core.api.v1alpha1.finetunejob import FineTuneJob, FineTuneJobSpec, FineTuneJobStatus
from graft_core.api.v1alpha1.modelrelease import DrainingStatus, ModelReleaseSpec, ModelReleaseStatus
from graft_core.clock import to_rfc3339
from graft_core.contracts.exit_codes import ExitClass
from graft_operator.local.release_shell import _split_of
from graft_operator.reconcile.finetunejob import decide_finetunejob
from graft_operator.reconcile.modelrelease import decide_modelrelease
from graft_operator.reconcile.observed import (
    ArtifactAbsent,
    ArtifactFound,
    Failed,
    ObservedModelRelease,
    Policy,
    Running,
)
from graft_operator.reconcile.support import LOCAL_SHELL
from graft_operator.reconcile.target import resolve_target
from graft_operator.render.limits import child_limits
from graft_operator.render.predictor_config import render_arm
from graft_operator.render.revision import revision_of
from graft_operator.render.train_request import render_train_request
from tests.builders import NOW, a_finetunejob, a_manifest, a_release, after
from tests.operator.reconcile.fields import covering, document, leaves, merged
from tests.operator.reconcile.releases import candidate, stable, trying, watched
from tests.operator.reconcile.views import (
    BLUE,
    GREEN,
    RED,
    a_condition,
    a_finished_status,
    a_view,
    a_window,
    an_arm,
    seen,
)

OTHER_COMMIT = "f" * 40
DIGEST = "sha256:" + "9" * 64

GATE = {"metric": "json_validity", "min": "0.9", "minDelta": "0.1", "versus": "base", "confidence": "0.9"}
JOB_BASE: dict[str, Any] = {
    "dataset": {"onInvalidRecord": "skip"},
    "evaluation": {"gates": [GATE]},
    "training": {"earlyStopping": {"patience": 3}},
}
JOB: dict[str, Any] = {
    "spec.task.type": "chat",
    "spec.task.promptVersion": "v9",
    "spec.task.system": "Answer briefly.",
    "spec.task.template": "{{ query }}",
    "spec.task.outputSchema": {"type": "object", "properties": {"other": {"type": "string"}}},
    "spec.task.labels": ["yes", "no"],
    "spec.model.id": "Qwen/Qwen2.5-1.5B",
    "spec.model.revision": OTHER_COMMIT,
    "spec.model.license": "mit",
    "spec.dataset.train": ["file:///data/other.jsonl"],
    "spec.dataset.validation": ["file:///data/validation.jsonl"],
    "spec.dataset.test": ["file:///data/test.jsonl"],
    "spec.dataset.split.validation": "0.2",
    "spec.dataset.split.test": "0.2",
    "spec.dataset.split.seed": 7,
    "spec.dataset.split.stratifyBy": "length",
    "spec.dataset.format": "messages",
    "spec.dataset.onInvalidRecord": "fail",
    "spec.dataset.maxInvalidFraction": "0.5",
    "spec.dataset.dedupe.exact": False,
    "spec.method.objective": "classification",
    "spec.method.adapter.r": 8,
    "spec.method.adapter.alpha": 8,
    "spec.method.adapter.dropout": "0.2",
    "spec.method.adapter.targetModules": ["q_proj"],
    "spec.training.epochs": 1,
    "spec.training.learningRate": "1e-3",
    "spec.training.batchSize": 32,
    "spec.training.maxLength": 64,
    "spec.training.schedule": "linear",
    "spec.training.warmupRatio": "0.5",
    "spec.training.completionOnlyLoss": False,
    "spec.training.classWeights": {"ok": {"true": "2.0"}},
    "spec.training.earlyStopping.patience": 9,
    "spec.training.checkpoint.everySteps": 7,
    "spec.training.checkpoint.keep": 7,
    "spec.training.seed": 7,
    "spec.evaluation.baseline": "none",
    "spec.evaluation.gates[].metric": "exact_match",
    "spec.evaluation.gates[].min": "0.1",
    "spec.evaluation.gates[].max": "1.0",
    "spec.evaluation.gates[].perClass": True,
    "spec.evaluation.gates[].minDelta": "0.2",
    "spec.evaluation.gates[].versus": None,
    "spec.evaluation.gates[].confidence": "0.99",
    "spec.output.uri": "s3://bucket/adapters/",
    "spec.resources.gpus": 1,
    "spec.resources.cpu": "2",
    "spec.resources.memory": "2Gi",
    "spec.runtime.activeDeadlineSeconds": 30,
    "spec.runtime.maxRestarts": 9,
    "spec.runtime.ttlSecondsAfterFinished": 5,
    "spec.suspend": True,
}
JOB_ONE_VALUE = {
    "spec.method.adapter.type": "lora is the one value that is not refused",
    "spec.training.earlyStopping.metric": "eval_loss is the one value there is",
}

RELEASE_BASE: dict[str, Any] = {
    "cache": {"memory": {}, "exact": {}},
    "engine": {"env": [{"name": "OMP_NUM_THREADS", "value": "1"}]},
    "guardrails": {
        "input": [{"type": "max-tokens", "max": 100}],
        "output": [{"type": "json-schema", "action": "repair"}],
    },
    "requestLog": {"uri": "file:///log/"},
    "rollout": {
        "steps": [{"weight": 5, "minRequests": 100}],
        "analysis": {"checks": [{"metric": "error_rate", "max": "0.5"}]},
    },
}
RELEASE: dict[str, Any] = {
    "spec.model.fineTuneJobRef.name": "other",
    "spec.model.adapter.uri": "file:///store/other/",
    "spec.model.adapter.digest": "sha256:" + "8" * 64,
    "spec.engine.args": ["--max-new-tokens=5"],
    "spec.engine.env[].name": "TOKENIZERS_PARALLELISM",
    "spec.engine.env[].value": "4",
    "spec.engine.resources.gpus": 1,
    "spec.predictor.resources.cpu": "2",
    "spec.predictor.resources.memory": "2Gi",
    "spec.predictor.timeoutSeconds": 7,
    "spec.predictor.maxConcurrency": 7,
    "spec.cache.memory.maxEntries": 7,
    "spec.cache.exact.ttlSeconds": 7,
    "spec.cache.tenantHeader": "x-tenant",
    "spec.cache.cacheable.maxTemperature": "0.7",
    "spec.guardrails.input[].max": 7,
    "spec.guardrails.input[].onError": "open",
    "spec.guardrails.output[].action": "block",
    "spec.guardrails.output[].maxRepairs": 3,
    "spec.guardrails.output[].onError": "open",
    "spec.guardrails.onError": "open",
    "spec.requestLog.uri": "file:///other/",
    "spec.requestLog.sampleRate": "0.5",
    "spec.requestLog.redactPii": False,
    "spec.requestLog.storeText": True,
    "spec.rollout.steps[].weight": 7,
    "spec.rollout.steps[].minDurationSeconds": 5,
    "spec.rollout.steps[].minRequests": 900,
    "spec.rollout.stickyHeader": "x-user-id",
    "spec.rollout.analysis.checks[].metric": "latency_p95",
    "spec.rollout.analysis.checks[].min": "0.4",
    "spec.rollout.analysis.checks[].max": "0.001",
    "spec.rollout.analysis.checks[].minDelta": "0.3",
    "spec.rollout.analysis.checks[].maxDelta": "-0.3",
    "spec.rollout.analysis.checks[].maxRatio": "0.1",
    "spec.rollout.analysis.checks[].minSamples": 900,
    "spec.rollout.onFailure": "Pause",
    "spec.rollout.progressDeadlineSeconds": 5,
    "spec.rollout.scaleDownDelaySeconds": 5,
    "spec.rollout.watchAfterPromotionSeconds": 5,
    "spec.rollout.onDrift": "Pause",
    "spec.deletionPolicy": "Orphan",
    "spec.attempt": 7,
    "spec.paused": True,
    "spec.abort": True,
    "spec.rollbackTo": RED,
}
RELEASE_ONE_VALUE = {
    "spec.engine.type": "transformers is the one value that is not refused",
    "spec.guardrails.input[].type": "max-tokens is the one value that is not refused",
    "spec.guardrails.input[].action": "block is the one value that is not refused",
    "spec.guardrails.output[].type": "json-schema is the one value that is not refused",
    "spec.rollout.analysis.source.scrape": "the default, written out; it has no field",
}


def used(model: type[Any], support: Any) -> set[str]:
    """List the leaves that the tables say are used."""
    return {leaf for leaf in leaves(model) if covering(support, leaf)[0]}


def test_every_used_field_is_tried() -> None:
    assert set(JOB) | set(JOB_ONE_VALUE) == used(FineTuneJobSpec, LOCAL_SHELL.finetunejob)
    assert set(RELEASE) | set(RELEASE_ONE_VALUE) == used(ModelReleaseSpec, LOCAL_SHELL.modelrelease)


def job_effects(spec: dict[str, Any]) -> list[Any]:
    """Gather everything a job's spec can lead to."""
    job = a_finetunejob(spec)

    def with_status(status: FineTuneJobStatus) -> FineTuneJob:
        return job.model_copy(update={"status": status})

    began = FineTuneJobStatus(active_since=to_rfc3339(NOW))
    views = (
        seen(job),
        seen(with_status(began), train=Running(NOW)),
        seen(with_status(a_finished_status()), train=Failed(ExitClass.BUG)),
    )
    request = render_train_request(job, pinned=None, default_output_uri="file:///store/")
    return [request, child_limits(job), *(decide_finetunejob(view, after(60)) for view in views)]


@pytest.mark.parametrize("path", JOB)
def test_a_change_of_a_jobs_field_changes_something(path: str) -> None:
    changed = merged(JOB_BASE, document(path, JOB[path]))
    assert job_effects(changed) != job_effects(JOB_BASE)


def release_effects(spec: dict[str, Any]) -> list[Any]:
    """Gather everything a release's spec can lead to."""
    release = a_release(spec)
    manifest = a_manifest()
    targets = [
        resolve_target(release.spec, None, artifact, Policy(), revision_of)
        for artifact in (ArtifactAbsent(NOW), ArtifactFound(manifest, "file:///store/x/"))
    ]
    recipe = render_arm(release, revision=BLUE, uri=_uri(spec), digest=DIGEST)
    decisions = [decide_modelrelease(view, NOW) for view in _views(spec)]
    return [recipe, revision_of(release.spec, DIGEST), _split_of(release), targets, decisions]


def _uri(spec: dict[str, Any]) -> str:
    """The shell reads an adapter by reference where the spec says it lies."""
    adapter = spec.get("model", {}).get("adapter") or {}
    return str(adapter.get("uri", "file:///store/x/"))


def _views(spec: dict[str, Any]) -> list[ObservedModelRelease]:
    """Build one moment of each kind in which some field of the rollout matters."""
    base = trying()
    step = replace(base, release=base.release.model_copy(update={"spec": a_release(spec).spec}))
    young = ModelReleaseStatus(
        stable=stable(weight=95),
        candidate=candidate(weight_since=to_rfc3339(after(-30)), step_since=to_rfc3339(after(-30))),
    )
    windows = {revision: a_window(revision, after(-30), NOW) for revision in (BLUE, GREEN)}
    loading = ModelReleaseStatus(stable=stable(), candidate=candidate(weight=0, ready_at=None, weight_since=None))
    drained = ModelReleaseStatus(
        stable=stable(),
        draining=DrainingStatus(revision=RED, since=to_rfc3339(after(-10))),
        conditions=(a_condition("TrafficSplit"),),
    )
    undecided = ModelReleaseStatus(
        stable=stable(weight=95), candidate=candidate(data_missing_since=to_rfc3339(after(-200)))
    )

    def at(status: ModelReleaseStatus, **fields: Any) -> ObservedModelRelease:
        return replace(step, release=step.release.model_copy(update={"status": status}), **fields)

    after_promotion = watched()
    return [
        step,
        at(young, windows=windows),
        at(loading, arms=(an_arm(BLUE, 100), an_arm(GREEN, 0, ready=False))),
        at(undecided, windows={}),
        at(drained, arms=(an_arm(BLUE, 100), an_arm(RED, 0)), known={RED: "sha256:a", BLUE: "sha256:b"}),
        a_view(spec, status=drained, arms=(an_arm(BLUE, 100),), requested={BLUE: 60}, target=base.target),
        a_view(
            spec,
            status=ModelReleaseStatus(stable=stable()),
            arms=(an_arm(BLUE, 100),),
            metadata={"deletion_timestamp": to_rfc3339(NOW)},
        ),
        replace(after_promotion, release=after_promotion.release.model_copy(update={"spec": a_release(spec).spec})),
    ]


@pytest.mark.parametrize("path", RELEASE)
def test_a_change_of_a_releases_field_changes_something(path: str) -> None:
    base = RELEASE_BASE
    if path.startswith("spec.model.adapter"):
        base = merged(
            base, {"model": {"fineTuneJobRef": None, "adapter": {"uri": "file:///store/x/", "digest": DIGEST}}}
        )
    changed = merged(base, document(path, RELEASE[path]))
    assert release_effects(changed) != release_effects(base)


def test_the_same_spec_has_the_same_effects() -> None:
    assert job_effects(JOB_BASE) == job_effects(JOB_BASE)
    assert release_effects(RELEASE_BASE) == release_effects(RELEASE_BASE)
