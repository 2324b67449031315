"""AdapterManifest: trainer → predictor (and operator), `manifest.json` beside the weights.

Written last, with create-if-absent: nothing without it is an artifact. The artifact's digest is the SHA-256 of the canonical JSON
of `files` (sorted by path), so it covers every other byte of the folder.
"""

import hashlib
import json
from typing import Literal

from graft_core.api.v1alpha1.finetunejob import DatasetStatus, GateStatus
from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.api.v1alpha1.training import MethodSpec, TrainingSpec
from graft_core.contracts.base import Contract, ObjectRef

__all__ = ["AdapterManifest", "ArtifactPointer", "BaseModelPin", "EngineCompatibility", "FileDigest", "digest_of_files"]


class FileDigest(Contract):
    """One file of the artifact."""

    path: str
    """Relative to the folder, `/` as separator."""
    sha256: str
    """64 hex digits."""
    size_bytes: int
    """Size."""


class BaseModelPin(Contract):
    """The base model the adapter fits."""

    id: str
    """As in spec.model.id."""
    revision: str
    """Commit, or sha256:… over the model folder's files."""
    license: str | None = None
    """As in spec.model.license."""


class EngineCompatibility(Contract):
    """What an engine must offer."""

    rank: int
    """LoRA rank."""
    target_modules: tuple[str, ...]
    """Layers with an adapter, as found in the model."""
    model_class: Literal["causal-lm", "sequence-classification"]
    """Which head the base is loaded with."""
    max_length: int
    """Tokens it was trained for."""


class AdapterManifest(Contract):
    """What an adapter is, what it was made from, and what it proved."""

    schema_version: Literal["v1"] = "v1"
    digest: str
    """sha256:… of `files`; also the folder's name."""
    files: tuple[FileDigest, ...]
    """Every file but this one, sorted by path."""
    job: ObjectRef
    """The FineTuneJob that made it."""
    base_model: BaseModelPin
    """The base model."""
    task: TaskSpec
    """The task contract; labels are filled in."""
    template_sha256: str
    """Hash over task prompt and chat template, see graft_core.tasks.template.template_sha256."""
    tokenizer_sha256: str
    """Hash over the tokenizer's files."""
    dataset: DatasetStatus
    """Digest and counts of the data."""
    method: MethodSpec
    """Objective and adapter."""
    training: TrainingSpec
    """Hyper-parameters."""
    metrics: dict[str, str]
    """Metrics on the test split."""
    baselines: dict[str, dict[str, str]]
    """The same metrics of each baseline."""
    gates: tuple[GateStatus, ...]
    """What became of each gate; one that is not Pass makes the adapter unreleasable."""
    compatibility: EngineCompatibility
    """What an engine must offer."""
    versions: dict[str, str]
    """Library versions."""
    trace_id: str | None = None
    """Trace of the run."""
    created_at: str
    """RFC 3339."""

    @property
    def is_releasable(self) -> bool:
        """True where every gate passed."""
        return all(gate.result == "Pass" for gate in self.gates)


class ArtifactPointer(Contract):
    """`by-uid/<uid>.json`: which artifact a FineTuneJob published; made with create-if-absent after the manifest."""

    schema_version: Literal["v1"] = "v1"
    uid: str
    """UID of the FineTuneJob."""
    uri: str
    """Folder of the artifact."""
    digest: str
    """Its digest."""


def digest_of_files(files: tuple[FileDigest, ...]) -> str:
    """Compute the artifact digest: SHA-256 over the canonical JSON of the files sorted by path."""
    rows = [[f.path, f.sha256, f.size_bytes] for f in sorted(files, key=lambda f: f.path)]
    return "sha256:" + hashlib.sha256(json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
