"""Objects for tests: valid ones, of which a test says only what it is about."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from graft_core.api.base import ObjectMeta
from graft_core.api.v1alpha1.finetunejob import (
    DatasetStatus,
    FineTuneJob,
    FineTuneJobSpec,
    FineTuneJobStatus,
    GateStatus,
    ProgressStatus,
)
from graft_core.api.v1alpha1.jobstatus import RecordCounts
from graft_core.api.v1alpha1.modelrelease import ModelRelease, ModelReleaseSpec, ModelReleaseStatus
from graft_core.api.v1alpha1.names import FINALIZER
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.api.v1alpha1.training import MethodSpec, Objective, TrainingSpec
from graft_core.contracts.adapter_manifest import (
    AdapterManifest,
    BaseModelPin,
    EngineCompatibility,
    FileDigest,
    digest_of_files,
)
from graft_core.contracts.base import ObjectRef
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import TrainReport

__all__ = [
    "BASE_REVISION",
    "DATASET_DIGEST",
    "JOB_UID",
    "NOW",
    "RELEASE_UID",
    "a_dataset_status",
    "a_finetunejob",
    "a_manifest",
    "a_release",
    "a_report",
    "after",
    "some_progress",
]

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""The time of a test's first pass."""
DATASET_DIGEST = "sha256:" + "d" * 64
BASE_REVISION = "a09a35458c702b33eeacc393d103063234e8bc28"
JOB_UID = "0b6f1c1e-0000-4000-8000-000000000001"
RELEASE_UID = "0b6f1c1e-0000-4000-8000-000000000002"


def after(seconds: float) -> datetime:
    """NOW and so many seconds."""
    return NOW + timedelta(seconds=seconds)


def a_finetunejob(
    spec: Mapping[str, Any] | None = None, *, status: FineTuneJobStatus | None = None, **metadata: Any
) -> FineTuneJob:
    """Build a small valid job; `spec` is merged into it section by section, in the API's own camelCase."""
    document: dict[str, Any] = {
        "task": {"type": "text-to-json", "outputSchema": {"type": "object", "properties": {"ok": {"type": "boolean"}}}},
        "model": {"id": "Qwen/Qwen2.5-0.5B", "revision": BASE_REVISION, "license": "apache-2.0"},
        "dataset": {"train": ["file:///data/train.jsonl"]},
        "method": {"objective": "sft"},
    }
    return FineTuneJob(
        metadata=_meta("tune", JOB_UID, metadata),
        spec=FineTuneJobSpec.model_validate(_merged(document, spec or {})),
        status=status or FineTuneJobStatus(),
    )


def a_release(
    spec: Mapping[str, Any] | None = None, *, status: ModelReleaseStatus | None = None, **metadata: Any
) -> ModelRelease:
    """Build a small valid release; `spec` is merged into it section by section, in the API's own camelCase."""
    document: dict[str, Any] = {"model": {"fineTuneJobRef": {"name": "tune"}}}
    return ModelRelease(
        metadata=_meta("shop", RELEASE_UID, metadata),
        spec=ModelReleaseSpec.model_validate(_merged(document, spec or {})),
        status=status or ModelReleaseStatus(),
    )


def a_dataset_status(digest: str = DATASET_DIGEST) -> DatasetStatus:
    """Build what a check found."""
    return DatasetStatus(digest=digest, records=RecordCounts(train=800, validation=100, test=100))


def a_report(exit_class: ExitClass = ExitClass.SUCCEEDED, **fields: Any) -> TrainReport:
    """Build a report; a check that passed, unless told otherwise."""
    values: dict[str, Any] = {
        "role": "check",
        "exit_class": exit_class,
        "dataset": a_dataset_status(),
        "base_revision": BASE_REVISION,
        **fields,
    }
    return TrainReport(job=ObjectRef(namespace="default", name="tune", uid=JOB_UID), **values)


def a_manifest(*gates: GateStatus, **fields: Any) -> AdapterManifest:
    """Build the manifest of a small adapter."""
    files = (FileDigest(path="adapter_model.safetensors", sha256="e" * 64, size_bytes=1000),)
    values: dict[str, Any] = {
        "digest": digest_of_files(files),
        "files": files,
        "base_model": BaseModelPin(id="Qwen/Qwen2.5-0.5B", revision=BASE_REVISION, license="apache-2.0"),
        "metrics": {"json_validity": "0.99"},
        "baselines": {"base": {"json_validity": "0.61"}},
        **fields,
    }
    return AdapterManifest(
        job=ObjectRef(namespace="default", name="tune", uid=JOB_UID),
        task=TaskSpec(type=TaskType.TEXT_TO_JSON),
        template_sha256="a" * 64,
        tokenizer_sha256="b" * 64,
        dataset=a_dataset_status(),
        method=MethodSpec(objective=Objective.SFT),
        training=TrainingSpec(),
        gates=gates,
        compatibility=EngineCompatibility(
            rank=16, target_modules=("q_proj",), model_class="causal-lm", max_length=2048
        ),
        versions={"peft": "0.19"},
        created_at="2026-03-01T12:00:00Z",
        **values,
    )


def some_progress(step: int, total: int = 1000) -> ProgressStatus:
    """Build progress."""
    return ProgressStatus(step=step, total_steps=total, steps=f"{step}/{total}")


def _meta(name: str, uid: str, values: Mapping[str, Any]) -> ObjectMeta:
    given = {"name": name, "uid": uid, "generation": 1, "resource_version": "7", "finalizers": (FINALIZER,), **values}
    return ObjectMeta.model_validate(given)


def _merged(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
