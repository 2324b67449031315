"""A double of the trainer: takes its command line, writes what its contract says, trains nothing. Saves on SIGTERM, resumes after kill -9.

How it behaves follows from `training.epochs` (steps, 50 ms each) and `training.seed`: 13 fails its gate, 14 ends with InvalidDataset in the check,
15 dies of a bug.
"""

import argparse
import json
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from graft_core.api.v1alpha1.finetunejob import ArtifactStatus, DatasetStatus, GateStatus, ProgressStatus
from graft_core.contracts.adapter_manifest import (
    AdapterManifest,
    ArtifactPointer,
    BaseModelPin,
    EngineCompatibility,
    FileDigest,
    digest_of_files,
)
from graft_core.contracts.exit_codes import EXIT_CODES, ExitClass
from graft_core.contracts.train_report import Progress, TrainReport
from graft_core.contracts.train_request import TrainRequest
from graft_core.storage.base import sha256_of_bytes
from graft_core.storage.objects import open_store

DIGEST = "sha256:" + "d" * 64
BASE = "sha256:" + "b" * 64
STEP_S = 0.05


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["validate", "run"])
    parser.add_argument("--request", type=Path)
    parser.add_argument("--run-dir", type=Path)
    args = parser.parse_args(sys.argv[3:])  # after `-m graft_trainer`
    request = TrainRequest.model_validate_json(args.request.read_bytes())
    print(f"{args.command} begins", flush=True)
    outcome = check(request) if args.command == "validate" else train(request, args.run_dir)
    draft = args.run_dir / "report.json.tmp"
    draft.write_text(outcome.to_json())
    draft.replace(args.run_dir / "report.json")
    return EXIT_CODES[outcome.exit_class]


def check(request: TrainRequest) -> TrainReport:
    if request.training.seed == 14:
        message = "line 7 has no label; expected one of a, b"
        return TrainReport(
            job=request.job, role="check", exit_class=ExitClass.INVALID_DATASET, message=message, path="train.jsonl:7"
        )
    return TrainReport(
        job=request.job,
        role="check",
        exit_class=ExitClass.SUCCEEDED,
        dataset=DatasetStatus(digest=DIGEST),
        base_revision=BASE,
        labels=("a", "b"),
    )


def train(request: TrainRequest, folder: Path) -> TrainReport:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    saved = folder / "checkpoint"
    first = int(saved.read_text()) if saved.exists() else 0
    total = request.training.epochs
    for step in range(first, total):
        if stop.wait(STEP_S):
            print(f"saved at {step}", flush=True)
            return TrainReport(job=request.job, role="train", exit_class=ExitClass.PREEMPTED)
        if request.training.seed == 15 and step == 2:
            raise RuntimeError("a bug of the double")
        saved.with_suffix(".tmp").write_text(str(step + 1))
        saved.with_suffix(".tmp").replace(saved)
        progress = Progress(
            at=datetime.now(UTC).isoformat(),  # a process of its own
            phase="Training",
            status=ProgressStatus.model_validate({"step": step + 1, "totalSteps": total, "loss": "0.5"}),
            resumed_from_step=first,
        )
        with (folder / "progress.jsonl").open("a") as file:
            file.write(progress.to_json() + "\n")
    return publish(request)


def publish(request: TrainRequest) -> TrainReport:
    weights = json.dumps({"double of": request.job.name, "seed": request.training.seed}).encode()
    files = (FileDigest(path="adapter_model.safetensors", sha256=sha256_of_bytes(weights), size_bytes=len(weights)),)
    digest = digest_of_files(files)
    uri = f"{request.output_prefix}{digest.removeprefix('sha256:')}/"
    gates = (GateStatus(metric="accuracy", result="Fail" if request.training.seed == 13 else "Pass", value="0.5"),)
    manifest = AdapterManifest(
        digest=digest,
        files=files,
        job=request.job,
        base_model=BaseModelPin(id=request.model.id, revision=BASE),
        task=request.task,
        template_sha256="t" * 64,
        tokenizer_sha256="k" * 64,
        dataset=DatasetStatus(digest=DIGEST),
        method=request.method,
        training=request.training,
        metrics={"accuracy": "0.5"},
        baselines={},
        gates=gates,
        compatibility=EngineCompatibility(
            rank=8, target_modules=("q",), model_class="sequence-classification", max_length=64
        ),
        versions={},
        created_at="2026-01-01T00:00:00Z",
    )
    store, prefix = open_store(uri)
    store.put(f"{prefix}/adapter_model.safetensors", weights)
    store.put_if_absent(f"{prefix}/manifest.json", manifest.to_json().encode())
    pointer = ArtifactPointer(uid=request.job.uid, uri=uri, digest=digest)
    store, key = open_store(f"{request.output_prefix}by-uid/{request.job.uid}.json")
    store.put_if_absent(key, pointer.to_json().encode())
    artifact = ArtifactStatus.model_validate(
        {"uri": uri, "digest": digest, "sizeBytes": len(weights), "baseModel": request.model.id, "baseRevision": BASE}
    )
    return TrainReport(
        job=request.job,
        role="train",
        exit_class=ExitClass.SUCCEEDED,
        artifact=artifact,
        metrics={"accuracy": "0.5"},
        gates=gates,
    )


if __name__ == "__main__":
    sys.exit(main())
