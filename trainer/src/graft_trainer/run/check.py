"""The check child: everything that can be wrong is found before an adapter is trained, and what was seen is pinned."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from graft_core.api.v1alpha1.task import TaskType
from graft_core.contracts.exit_codes import ExitClass
from graft_core.contracts.train_report import TrainReport
from graft_core.contracts.train_request import TrainRequest
from graft_core.errors import InvalidInput, NotSupported
from graft_core.tasks.outputs import check_output_schema
from graft_core.tasks.template import check_task_template
from graft_core.telemetry.logs import get_log
from graft_trainer.evaluate.gates import check_gates
from graft_trainer.methods.plan import check_class_weights
from graft_trainer.modeling.adapter import ALL_LINEAR, check_target_modules, layer_shapes, parameter_count
from graft_trainer.modeling.tokens import read_config
from graft_trainer.run.context import Child, Prepared, prepare

__all__ = ["check", "check_support", "estimate_bytes"]

BYTES_PER_TRAINED: Final = 16
"""fp32 weight, gradient and AdamW's two moments."""
ACTIVATION_FACTOR: Final = 34
"""Bytes of activations per token, layer and hidden unit at 16 bits (Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198, eq. 2, without
its attention term, which fused attention does not keep)."""

COMMON_ENCODERS: Final = frozenset(
    {"bert", "camembert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta", "xlm-roberta"}
)
"""Architectures known to have a classifier: a check of these needs nothing of transformers, which takes two seconds to load."""

_log = get_log(__name__)


def check(child: Child) -> TrainReport:
    """Check everything; the report pins data, base revision and labels.

    Args:
        child: The check child.

    Returns:
        A report of success; anything wrong is raised.
    """
    request = child.request
    child.progress.enter("Preparing")
    check_support(request, can_share=child.is_pod)
    if not child.is_pod:
        check_gpus(request)
    prepared = prepare(child)
    check_model(request, prepared)
    check_class_weights(request.training.class_weights, prepared.task)
    for warning in prepared.data.warnings:
        _log.warning("dataset_warning", message=warning)
    found = prepared.data
    return TrainReport.model_validate(
        {
            **child.findings,
            "job": request.job,
            "role": "check",
            "exit_class": ExitClass.SUCCEEDED,
            "message": f"{len(found.train)} training, {len(found.validation)} validation and {len(found.test)} test records; {found.found}",
        }
    )


def check_support(request: TrainRequest, *, can_share: bool = False) -> None:
    """Refuse what this version does not build, and what can be told from the request alone.

    Args:
        request: The request.
        can_share: Several processes may train together here.

    Raises:
        NotSupported: A field or value that is not built yet.
        InvalidInput: The batch can't be shared evenly.
    """
    unsupported = {
        "spec.method.objective": request.method.objective.value if request.method.objective.value == "dpo" else None,
        "spec.method.quantization": request.method.quantization and request.method.quantization.type,
        "spec.training.packing": request.training.packing or None,
        "spec.training.report": "wandb or tensorboard" if request.training.report else None,
        "spec.evaluation.judge": request.evaluation.judge and request.evaluation.judge.model,
        "spec.evaluation.modelRelease": request.evaluation.model_release,
        "spec.resources.gpus": request.compute.gpus if request.compute.gpus > 1 and not can_share else None,
    }
    for path, value in unsupported.items():
        if value is not None:
            raise NotSupported(f"{path}: {value!r} is not supported in this version; leave it out", path=path)
    world = max(1, request.compute.gpus) * (request.compute.nodes or 1)
    if request.training.batch_size % world:
        raise InvalidInput(
            f"training.batchSize: {request.training.batch_size} can't be shared evenly by {world} GPUs or nodes;"
            f" set it to a multiple of {world}",
            path="spec.training.batchSize",
        )
    check_task_template(request.task)
    if request.task.output_schema is not None:
        check_output_schema(request.task.output_schema)
    check_gates(request.task, request.evaluation.gates, has_baseline=request.evaluation.baseline == "base")


def check_gpus(request: TrainRequest, devices: Path = Path("/dev")) -> None:
    """Refuse a request for GPUs on a machine without them, without loading a driver.

    Args:
        request: The request.
        devices: Where NVIDIA's device files lie.

    Raises:
        InvalidInput: There are fewer than asked for.
    """
    wanted = request.compute.gpus
    there = len([p for p in devices.glob("nvidia[0-9]*") if p.name.removeprefix("nvidia").isdigit()])
    if wanted > there:
        raise InvalidInput(
            f"resources.gpus: {wanted} asked for, this machine has {there}; set it to {there} (0 trains on the CPU) or use another machine",
            path="spec.resources.gpus",
        )


def check_model(request: TrainRequest, prepared: Prepared) -> None:
    """Hold the request against what the base model is.

    Args:
        request: The request.
        prepared: Data and base model.

    Raises:
        InvalidInput: The architecture does not fit, a target module is unknown, or it cannot fit in memory.
    """
    config = read_config(prepared.base)
    _check_architecture(request, config)
    shapes = layer_shapes(prepared.base)
    check_target_modules(request.method.adapter.target_modules, shapes)
    needed = estimate_bytes(request, config, shapes, min(request.training.max_length, prepared.data.lengths.longest))
    _log.info("memory_estimated", needed_mib=needed >> 20, parameters=parameter_count(shapes))
    if request.compute.gpus == 0 and needed > _machine_bytes():
        raise InvalidInput(
            f"training needs about {needed / 2**30:.1f} GiB, this machine gives {_machine_bytes() / 2**30:.1f} GiB;"
            " use a smaller base model, lower training.maxLength or method.adapter.r, or use a larger machine",
            path="spec.resources.memory",
        )


def estimate_bytes(
    request: TrainRequest, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], tokens: int
) -> int:
    """Estimate what training takes with one record at a time: frozen base, trained adapter with AdamW, activations, logits.

    Args:
        request: Rank, targets and device.
        config: The base model's config.json.
        shapes: Its tensors.
        tokens: Tokens of the longest record.

    Returns:
        Bytes; a lower bound that is right within about a third.
    """
    width = 2 if request.compute.gpus else 4
    targets = request.method.adapter.target_modules
    trained = sum(
        request.method.adapter.r * (shape[0] + shape[1])
        for name, shape in shapes.items()
        if len(shape) == 2 and _is_target(name, targets)  # a matrix
    )
    hidden = int(config.get("hidden_size", 0))
    layers = int(config.get("num_hidden_layers", 0))
    activations = tokens * layers * hidden * ACTIVATION_FACTOR * width // 2
    vocabulary = 0 if request.task.type is TaskType.CLASSIFICATION else int(config.get("vocab_size", 0))
    return parameter_count(shapes) * width + trained * BYTES_PER_TRAINED + activations + tokens * vocabulary * 4


def _is_target(name: str, targets: tuple[str, ...]) -> bool:
    module = name.removesuffix(".weight")
    if ALL_LINEAR in targets:
        return "embed" not in module and "lm_head" not in module
    return any(module == target or module.endswith(f".{target}") for target in targets)


def _check_architecture(request: TrainRequest, config: Mapping[str, Any]) -> None:
    is_classifier = request.task.type is TaskType.CLASSIFICATION
    if is_classifier and config["model_type"] in COMMON_ENCODERS:
        return
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    )

    known = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES if is_classifier else MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if config["model_type"] not in known:
        what = "a sequence classifier" if is_classifier else "a causal language model"
        raise InvalidInput(
            f"model.id: architecture {config['model_type']!r} cannot be loaded as {what}, which objective"
            f" {request.method.objective.value!r} needs",
            path="spec.model.id",
        )


def _machine_bytes() -> int:
    """Memory that this process may use: the cgroup's limit where there is one, else the machine's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total
