"""The stages of a train child, each finding the one before it in the run folder; `run` is all three in a row.

A stage whose result is there is not done again, so a killed child goes on where it was: checkpoints while training, then `trained/`,
`evaluation.json`, `staged/`, and at last the pointer in object storage, which ends everything.
"""

from pathlib import Path

from graft_core.api.v1alpha1.finetunejob import ArtifactStatus
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import TrainReport
from graft_core.errors import NotReady
from graft_core.storage.base import ObjectStore
from graft_core.storage.objects import open_store
from graft_core.tasks.messages import to_text
from graft_core.telemetry.logs import get_log
from graft_core.telemetry.tracing import get_tracer
from graft_trainer.data.credentials import output_env
from graft_trainer.evaluate.result import EvaluationResult, Shown, build_result
from graft_trainer.methods.plan import check_class_weights
from graft_trainer.modeling.durable import write_atomic
from graft_trainer.modeling.encode import prompt_of
from graft_trainer.publish.read_back import read_back
from graft_trainer.publish.upload import Published, published_before, upload
from graft_trainer.run.artifact import stage_artifact
from graft_trainer.run.check import check_gpus, check_support
from graft_trainer.run.context import Child, Prepared, prepare
from graft_trainer.run.training import limit_threads, train_here
from graft_trainer.run.workers import train_in_processes

__all__ = ["evaluate", "publish", "run_all", "train"]

_log = get_log(__name__)
_tracer = get_tracer(__name__)


def train(child: Child) -> TrainReport:
    """Train the adapter, going on from the newest complete checkpoint."""
    _train(child, _begin(child))
    return _report(child)


def evaluate(child: Child) -> TrainReport:
    """Score the trained adapter and judge the gates."""
    _evaluate(child, _begin(child))
    return _report(child)


def publish(child: Child) -> TrainReport:
    """Publish the trained and evaluated adapter."""
    _publish(child, _begin(child))
    return _report(child)


def run_all(child: Child) -> TrainReport:
    """Train, evaluate and publish; after a kill, go on."""
    before = _published_before(child)
    if before is not None:
        _log.info("already_published", uri=before.uri)
        return _tell_published(child, before)
    prepared = _begin(child)
    _train(child, prepared)
    if not child.is_first_node:
        return _report(child)
    _evaluate(child, prepared)
    _publish(child, prepared)
    return _report(child)


@_tracer.start_as_current_span("graft.trainer.prepare")
def _begin(child: Child) -> Prepared:
    child.progress.enter("Preparing")
    check_support(child.request, can_share=child.processes > 1)
    check_gpus(child.request)
    prepared = prepare(child)
    check_class_weights(child.request.training.class_weights, prepared.task)
    return prepared


@_tracer.start_as_current_span("graft.trainer.train")
def _train(child: Child, prepared: Prepared) -> None:
    if child.remote is not None:
        child.remote.pull(child.folder.checkpoints, child.folder.trained)
    if child.folder.trained.exists():
        return
    child.progress.enter("Training")
    began = child.clock.monotonic()
    if child.processes * child.nodes > 1:
        train_in_processes(child, prepared)
    else:
        train_here(child, prepared)
    if child.remote is not None and child.is_first_node:
        child.remote.push_trained(child.folder.trained)
    _log.info(
        "trained",
        seconds=round(child.clock.monotonic() - began, 1),
        resumed_from_step=child.resumed_from_step,
        processes=child.processes * child.nodes,
    )


@_tracer.start_as_current_span("graft.trainer.evaluate")
def _evaluate(child: Child, prepared: Prepared) -> EvaluationResult:
    path = child.folder.evaluation
    if path.exists():
        return EvaluationResult.model_validate_json(path.read_text(encoding="utf-8"))
    _need(child.folder.trained, "train")
    child.progress.enter("Evaluating")
    limit_threads(child)
    from graft_trainer.evaluate.run import EvaluationPlan, score_adapter

    request, test = child.request, list(prepared.data.test)
    scored = score_adapter(
        EvaluationPlan(
            base=prepared.base,
            adapter=child.folder.trained,
            task=prepared.task,
            seed=request.training.seed,
            with_base=request.evaluation.baseline == "base",
            on_gpu=request.compute.gpus > 0,
        ),
        test,
        [record.label or "" for record in test],
        child.stop.check,
    )
    shown = [
        Shown(prompt=to_text(prompt_of(prepared.task, r)), expected=r.answer, source=f"{r.source}:{r.line}")
        for r in test
    ]
    result = build_result(prepared.task, request.evaluation.gates, scored, shown)
    write_atomic(path, result.to_json())
    _log.info("evaluated", count=result.count, gates=[f"{gate.metric}={gate.result}" for gate in result.gates])
    return result


@_tracer.start_as_current_span("graft.trainer.publish")
def _publish(child: Child, prepared: Prepared) -> Published:
    before = _published_before(child)
    if before is None:
        _need(child.folder.trained, "train")
        _need(child.folder.evaluation, "evaluate")
        child.progress.enter("Publishing")
        manifest = stage_artifact(child, prepared, _evaluate(child, prepared))
        store, prefix = _open_output(child)
        before = upload(store, prefix, child.folder.staged, manifest)
        _log.info("published", uri=before.uri, digest=manifest.digest)
    _tell_published(child, before)
    return before


def _published_before(child: Child) -> Published | None:
    store, prefix = _open_output(child)
    return published_before(store, prefix, child.request.job.uid)


def _open_output(child: Child) -> tuple[ObjectStore, str]:
    return open_store(child.request.output_prefix, output_env())


def _tell_published(child: Child, published: Published) -> TrainReport:
    manifest = published.manifest
    store, prefix = _open_output(child)
    read_back(store, published, prefix, child.folder.work)
    if child.remote is not None:
        child.remote.drop_work()
    child.findings |= {
        "dataset": manifest.dataset,
        "base_revision": manifest.base_model.revision,
        "labels": manifest.task.labels or (),
        "metrics": manifest.metrics,
        "baselines": manifest.baselines,
        "gates": manifest.gates,
        "artifact": ArtifactStatus(
            uri=published.uri,
            digest=manifest.digest,
            short_digest=manifest.digest.removeprefix("sha256:")[:12],
            size_bytes=sum(file.size_bytes for file in manifest.files),
            base_model=manifest.base_model.id,
            base_revision=manifest.base_model.revision,
        ),
    }
    return _report(child)


def _report(child: Child) -> TrainReport:
    return TrainReport.model_validate(
        {**child.findings, "job": child.request.job, "role": "train", "exit_class": ExitClass.SUCCEEDED}
    )


def _need(path: Path, stage: str) -> None:
    if not path.exists():
        raise NotReady(f"there is nothing to go on from: run `graft-trainer {stage}` with this --run-dir first")
