"""Stage the artifact: every file of it in one folder, and the manifest that names them.

The folder appears whole, by a rename, and is reused by a later attempt: the log in it has time stamps, so staging twice would give two
digests.
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from graft_core.api.v1alpha1.task import TaskType
from graft_core.clock import to_rfc3339
from graft_core.contracts.adapter_manifest import (
    AdapterManifest,
    BaseModelPin,
    EngineCompatibility,
    digest_of_files,
)
from graft_core.errors import Corrupt
from graft_trainer.evaluate.result import EvaluationResult, ModelScores
from graft_trainer.modeling.adapter import ALL_LINEAR
from graft_trainer.modeling.durable import publish_folder
from graft_trainer.modeling.tokens import TOKENIZER_FILES, tokenizer_key
from graft_trainer.publish.model_card import render_model_card
from graft_trainer.publish.report_html import render_report
from graft_trainer.publish.story import Curves, Example, Results, Scores, Story
from graft_trainer.publish.upload import MANIFEST_FILE, list_files
from graft_trainer.publish.verify import CONFIG_FILE, WEIGHTS_FILE, verify_adapter
from graft_trainer.run.context import Child, Prepared

__all__ = ["stage_artifact"]

_LIBRARIES: Final = ("graft-trainer", "peft", "torch", "transformers", "trl")


def stage_artifact(child: Child, prepared: Prepared, result: EvaluationResult) -> AdapterManifest:
    """Make the folder, or find the one that an earlier attempt made.

    Args:
        child: Run folder and request.
        prepared: Data and base model.
        result: What the evaluation found.

    Returns:
        The manifest of the folder's files.

    Raises:
        Corrupt: The adapter is not what it says, or a staged folder was changed.
    """
    staged = child.folder.staged
    if not staged.exists():
        made = staged.with_name(".staging")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        _fill(made, child, prepared, result)
        manifest = _manifest(made, child, prepared, result)
        (made / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
        publish_folder(made, staged)
    manifest = AdapterManifest.model_validate_json((staged / MANIFEST_FILE).read_text(encoding="utf-8"))
    if list_files(staged) != manifest.files:
        raise Corrupt("work/staged was changed since it was made; remove it, and publish again")
    return manifest


def _fill(made: Path, child: Child, prepared: Prepared, result: EvaluationResult) -> None:
    trained = child.folder.trained
    shutil.copyfile(trained / WEIGHTS_FILE, made / WEIGHTS_FILE)
    _write_json(made / CONFIG_FILE, _adapter_config(trained / CONFIG_FILE, child, prepared))
    verify_adapter(made)
    for name in TOKENIZER_FILES:
        if (prepared.base / name).exists():
            shutil.copyfile(prepared.base / name, made / name)
    if prepared.chat_template is not None:
        _add_generation_files(made, prepared)
    history = _history(child)
    story = _story(child, prepared, result, history)
    _write_json(made / "metrics.json", _metrics_file(result, history))
    (made / "report.html").write_text(render_report(story), encoding="utf-8")
    (made / "model_card.md").write_text(render_model_card(story), encoding="utf-8")
    shutil.copyfile(child.folder.log, made / "train.log")


def _adapter_config(path: Path, child: Child, prepared: Prepared) -> dict[str, Any]:
    """Name the base by its id instead of a path of this machine, and order what PEFT keeps in sets."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    is_hub = "://" not in child.request.model.id
    config |= {
        "base_model_name_or_path": child.request.model.id,
        "revision": prepared.revision if is_hub else None,
        "inference_mode": True,
    }
    for name, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[name] = sorted(value)
    return config


def _add_generation_files(made: Path, prepared: Prepared) -> None:
    from graft_trainer.modeling.encode import ChatEncoder
    from graft_trainer.modeling.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(prepared.base)
    encoder = ChatEncoder(tokenizer, prepared.task)
    if not tokenizer.chat_template:
        (made / "chat_template.jinja").write_text(encoder.chat_template, encoding="utf-8")
    _write_json(
        made / "generation_config.json",
        {"do_sample": False, "eos_token_id": list(encoder.end_token_ids), "pad_token_id": tokenizer.pad_token_id},
    )


def _history(child: Child) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((child.folder.trained / "history.json").read_text(encoding="utf-8"))
    return found


def _metrics_file(result: EvaluationResult, history: dict[str, Any]) -> dict[str, Any]:
    def of(scores: ModelScores) -> dict[str, Any]:
        return scores.model_dump(mode="json", by_alias=True)

    return {
        "count": result.count,
        "adapter": of(result.adapter),
        "baselines": {name: of(scores) for name, scores in result.baselines.items()},
        "gates": [gate.model_dump(mode="json", by_alias=True) for gate in result.gates],
        "history": history,
    }


def _manifest(made: Path, child: Child, prepared: Prepared, result: EvaluationResult) -> AdapterManifest:
    request = child.request
    files = list_files(made)
    is_classifier = prepared.task.type is TaskType.CLASSIFICATION
    return AdapterManifest(
        digest=digest_of_files(files),
        files=files,
        job=request.job,
        base_model=BaseModelPin(id=request.model.id, revision=prepared.revision, license=request.model.license),
        task=prepared.task,
        template_sha256=prepared.template_sha256,
        tokenizer_sha256=tokenizer_key(made),
        dataset=prepared.data.status,
        method=request.method,
        training=request.training,
        metrics=_to_texts(result.adapter),
        baselines={name: _to_texts(scores) for name, scores in result.baselines.items()},
        gates=result.gates,
        compatibility=EngineCompatibility(
            rank=request.method.adapter.r,
            target_modules=_target_names(_history(child)["target_modules"]),
            model_class="sequence-classification" if is_classifier else "causal-lm",
            max_length=request.training.max_length,
        ),
        versions={name: version(name) for name in _LIBRARIES},
        trace_id=_trace_id(request.traceparent),
        created_at=to_rfc3339(child.clock.now()),
    )


def _to_texts(scores: ModelScores) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in scores.metrics.items()}


def _target_names(modules: list[str]) -> tuple[str, ...]:
    return tuple(sorted({name.rsplit(".", 1)[-1] for name in modules}))


def _trace_id(traceparent: str | None) -> str | None:
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) == 4 else None  # version-trace-parent-flags


def _story(child: Child, prepared: Prepared, result: EvaluationResult, history: dict[str, Any]) -> Story:
    request, data = child.request, prepared.data
    is_classifier = prepared.task.type is TaskType.CLASSIFICATION
    counts, dropped = data.counts, data.dropped
    adapter, training = request.method.adapter, request.training
    targets = "all linear layers" if ALL_LINEAR in adapter.target_modules else ", ".join(adapter.target_modules)
    return Story(
        name=f"{request.job.namespace}/{request.job.name}",
        base_id=request.model.id,
        base_revision=prepared.revision,
        license=request.model.license,
        task=prepared.task,
        result=_results(result),
        history=Curves(history["losses"], history["eval_losses"], history["learning_rates"]),
        lengths=data.lengths.buckets(),
        length_unit=data.lengths.unit,
        note=(
            "The base is the untuned encoder under a classification head that was never trained, drawn from the same seed."
            if is_classifier and result.baselines
            else ""
        ),
        facts={
            "objective": request.method.objective.value,
            "records": f"{counts.train} training, {counts.validation} validation, {counts.test} test",
            "left out": f"{dropped.invalid} invalid, {dropped.duplicate} duplicates",
            "data set": data.digest,
            "base revision": prepared.revision,
            "adapter": f"{adapter.type.value}, rank {adapter.r}, alpha {adapter.alpha}, dropout {adapter.dropout}, on {targets}",
            "optimiser": f"AdamW, {training.schedule.value} schedule, learning rate {training.learning_rate}",
            "batch": f"{training.batch_size} records, {history['micro_batch']} at a time",
            "steps": f"{history['steps']} of {history['planned_steps']}, weights of step {history['best_step']}",
            "seed": str(training.seed),
            "prompt": f"{prepared.task.prompt_version}, template {prepared.template_sha256[:12]}",
        },
    )


def _results(result: EvaluationResult) -> Results:
    return Results(
        count=result.count,
        adapter=_scores(result.adapter),
        baselines={name: _scores(scores) for name, scores in result.baselines.items()},
        gates=result.gates,
        worst=[Example(**worst.model_dump()) for worst in result.worst],
    )


def _scores(scores: ModelScores) -> Scores:
    return Scores(scores.metrics, scores.per_class, scores.support, scores.confusion)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
