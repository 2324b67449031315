"""Taking a published artifact over into the status, whatever became of the child that wrote it.

The manifest is the truth where the shell can read the store; where only the pods can, it is the report of the child that read it back.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from graft_core.api.v1alpha1.finetunejob import ArtifactStatus, DatasetStatus, FineTuneJobStatus, GateStatus
from graft_core.contracts.train_report import TrainReport
from graft_core.errors import Corrupt
from graft_operator.reconcile.decision import FineTuneJobDecision
from graft_operator.reconcile.job_pass import JobPass
from graft_operator.reconcile.observed import ArtifactFound, ArtifactReported, Succeeded

__all__ = ["adopt"]

FIGURES_BYTES: Final = 20_000
"""What metrics, baselines and gates may take of the status's 32 KiB; the manifest and report.html hold them all."""
_RESULTS: Final[Mapping[str, Literal["Pass", "Fail", "InsufficientEvidence"]]] = {"P": "Pass", "F": "Fail"}
"""`TrainReport.gate_results`."""


@dataclass(frozen=True, slots=True)
class _Published:
    """What the status takes over."""

    artifact: ArtifactStatus
    dataset: DatasetStatus | None
    gates: tuple[GateStatus, ...]
    metrics: Mapping[str, str]
    baselines: Mapping[str, Mapping[str, str]]


def adopt(this: JobPass, artifact: ArtifactFound | ArtifactReported) -> FineTuneJobDecision:
    """End the job with what it published: Complete, or Failed/GatesFailed (the artifact stays, and is never releasable)."""
    published = _of_manifest(artifact) if isinstance(artifact, ArtifactFound) else _of_report(this, artifact.report)
    gates = _judged_gates(this, published.gates)
    train = this.seen.train.state
    report = train.report if isinstance(train, Succeeded) else None
    this.end()
    this.draft.put(
        artifact=published.artifact,
        dataset=published.dataset or this.status.dataset,
        train_seen=True,
        usage=report.usage if report else this.status.usage,
        progress=(report.progress if report else None) or this.status.progress,
        **_figures(published, gates),
    )
    this.draft.condition("Scheduled", "True", "Finished", "the train child did its work")
    this.draft.condition("Trained", "True", "Trained", "training and evaluation are done")
    this.draft.condition("Published", "True", "Published", f"the artifact is {published.artifact.uri}")
    failed = [gate for gate in gates if gate.result != "Pass"]
    ttl_s = this.spec.runtime.ttl_seconds_after_finished
    if failed:
        message = f"{len(failed)} of {len(gates)} gates do not hold: " + "; ".join(map(_told, failed))
        this.draft.warn("GatesPassed", "False", "GatesFailed", message)
        this.draft.warn("Failed", "True", "GatesFailed", f"{message}. The artifact is kept and can't be released")
    else:
        held = f"all {len(gates)} gates hold" if gates else "no gates were asked for"
        this.draft.condition("GatesPassed", "True", "GatesPassed" if gates else "NoGates", held)
        this.draft.condition("Complete", "True", "Complete", f"{published.artifact.digest} is published; {held}")
    return this.decide(again_s=ttl_s)


def _of_manifest(artifact: ArtifactFound) -> _Published:
    manifest = artifact.manifest
    status = ArtifactStatus(
        uri=artifact.uri,
        digest=manifest.digest,
        short_digest=manifest.digest.removeprefix("sha256:")[:12],
        size_bytes=sum(file.size_bytes for file in manifest.files),
        base_model=manifest.base_model.id,
        base_revision=manifest.base_model.revision,
    )
    return _Published(status, manifest.dataset, manifest.gates, manifest.metrics, manifest.baselines)


def _of_report(this: JobPass, report: TrainReport) -> _Published:
    if report.artifact is None:
        raise Corrupt("a report without an artifact was taken for one that publishes; this is a bug, please report it")
    gates = report.gates
    if not gates and report.gate_results:
        gates = tuple(
            GateStatus(metric=gate.metric, result=_RESULTS.get(letter, "InsufficientEvidence"))
            for gate, letter in zip(this.spec.evaluation.gates, report.gate_results, strict=False)
        )
    return _Published(report.artifact, report.dataset, gates, report.metrics or {}, report.baselines or {})


def _judged_gates(this: JobPass, judged: tuple[GateStatus, ...]) -> tuple[GateStatus, ...]:
    """Return the gates as judged, and one without evidence for each that was asked for and is not among them."""
    known = {gate.metric for gate in judged}
    missing = dict.fromkeys(gate.metric for gate in this.spec.evaluation.gates if gate.metric not in known)
    return (
        *judged,
        *(
            GateStatus(metric=metric, result="InsufficientEvidence", detail="the manifest says nothing of this gate")
            for metric in missing
        ),
    )[:64]


def _told(gate: GateStatus) -> str:
    value = f" {gate.value}" if gate.value else ""
    detail = f" ({gate.detail})" if gate.detail else ""
    return f"{gate.metric}{value} {gate.result}{detail}"


_Figures = dict[str, object]


def _figures(published: _Published, gates: tuple[GateStatus, ...]) -> _Figures:
    """Return metrics, baselines and gates, with as much left out as the status's size asks for."""
    gated = {gate.metric for gate in gates}
    metrics = dict(list(published.metrics.items())[:64])
    baselines = {name: dict(list(values.items())[:64]) for name, values in list(published.baselines.items())[:4]}
    whole: _Figures = {"metrics": metrics, "baselines": baselines, "gates": gates}
    cuts: tuple[Callable[[], _Figures], ...] = (
        lambda: whole,
        lambda: {**whole, "baselines": {n: _only(v, gated) for n, v in baselines.items()}},
        lambda: {"metrics": _only(metrics, gated), "baselines": None, "gates": gates},
        lambda: {"metrics": None, "baselines": None, "gates": tuple(_without_detail(gate) for gate in gates)},
    )
    return next((cut() for cut in cuts if _size(cut()) <= FIGURES_BYTES), cuts[-1]())


def _only(values: dict[str, str], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name in names}


def _without_detail(gate: GateStatus) -> GateStatus:
    return gate.model_copy(update={"detail": ""})


def _size(figures: _Figures) -> int:
    status = FineTuneJobStatus().model_copy(update=figures)
    return len(
        json.dumps(status.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False).encode()
    )
