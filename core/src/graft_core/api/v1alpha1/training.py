"""`spec.method`, `spec.training`, `spec.sweep` and `spec.evaluation` of a FineTuneJob."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from graft_core.api.base import Cel, DecimalString, DnsLabel, Fraction, KubeModel, PositiveDecimal, SecretRef

__all__ = [
    "AdapterSpec",
    "AdapterType",
    "CheckpointSpec",
    "EarlyStoppingSpec",
    "EvaluationSpec",
    "Gate",
    "JudgeSpec",
    "MethodSpec",
    "Objective",
    "QuantizationSpec",
    "ReportSpec",
    "Schedule",
    "SweepSpec",
    "TrainingSpec",
]

MetricName = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][-_A-Za-z0-9]*(\.[A-Za-z_][-_A-Za-z0-9]*)*$")
]
"""A metric such as "json_validity" or "is_in_scope.accuracy"."""


class Objective(StrEnum):
    """What the loss is made of."""

    SFT = "sft"
    DPO = "dpo"
    CLASSIFICATION = "classification"


class AdapterType(StrEnum):
    """Low-rank adapters (Hu et al. 2021; DoRA: Liu et al. 2024; rsLoRA: Kalajdzievski 2023)."""

    LORA = "lora"
    DORA = "dora"
    RSLORA = "rslora"


class AdapterSpec(KubeModel):
    """The adapter that is trained; the base model's own weights never change."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "self.targetModules.all(m, self.targetModules.exists_one(n, n == m))",
            "targetModules must not repeat a name",
            ".targetModules",
        ),
    )

    type: AdapterType = AdapterType.LORA
    """lora, dora or rslora."""
    r: Annotated[int, Field(ge=1, le=512)] = 16
    """Rank."""
    alpha: Annotated[int, Field(ge=1, le=4096)] = 32
    """Scale: the update is multiplied by alpha / r."""
    dropout: Fraction = "0.05"
    """Dropout on the adapter's input while training."""
    target_modules: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][-_.A-Za-z0-9]*$")], ...],
        Field(min_length=1, max_length=64),
    ] = ("all-linear",)
    """Names of the layers that get an adapter, or all-linear."""


class QuantizationSpec(KubeModel):
    """Quantization of the frozen base while training (QLoRA, Dettmers et al. 2023)."""

    type: Literal["nf4", "int8"]
    """nf4 or int8."""
    double_quant: bool = True
    """Quantize the quantization constants too."""
    compute_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Type the matrix products run in."""


class MethodSpec(KubeModel):
    """How the adapter is learned."""

    objective: Objective
    """sft, dpo or classification."""
    adapter: AdapterSpec = AdapterSpec()
    """The adapter."""
    quantization: QuantizationSpec | None = None
    """Absent: no quantization."""


class Schedule(StrEnum):
    """Learning rate over the steps, after warm-up."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"


class EarlyStoppingSpec(KubeModel):
    """Stop when the validation split no longer improves; the best checkpoint is kept."""

    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """Evaluations without improvement."""
    metric: Literal["eval_loss"] = "eval_loss"
    """What is watched."""


class CheckpointSpec(KubeModel):
    """How often work is made safe."""

    every_steps: Annotated[int, Field(ge=1, le=100000)] = 100
    """Optimiser steps between checkpoints; at most this much is lost by a kill."""
    keep: Annotated[int, Field(ge=1, le=20)] = 2
    """Complete checkpoints kept."""


class WandbSpec(KubeModel):
    """Weights & Biases."""

    secret_ref: SecretRef
    """Secret with the API key."""


class ReportSpec(KubeModel):
    """Where curves go besides report.html."""

    wandb: WandbSpec | None = None
    """Weights & Biases."""
    tensorboard: bool = False
    """Write TensorBoard event files."""


class TrainingSpec(KubeModel):
    """Hyper-parameters."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "double(self.learningRate) > 0.0 && double(self.learningRate) <= 1.0",
            "learningRate must be over 0 and at most 1",
            ".learningRate",
        ),
    )

    epochs: Annotated[int, Field(ge=1, le=1000)] = 3
    """Passes over the training split."""
    learning_rate: PositiveDecimal = "2e-4"
    """Peak learning rate."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    """Effective batch; the trainer finds the micro-batch that fits and accumulates."""
    max_length: Annotated[int, Field(ge=8, le=1048576)] = 2048
    """Tokens of a record; a longer one is an invalid record, never cut silently."""
    schedule: Schedule = Schedule.COSINE
    """cosine, linear or constant."""
    warmup_ratio: Fraction = "0.03"
    """Share of the steps in which the learning rate rises."""
    packing: bool = False
    """Put several records in one row, without attention between them."""
    completion_only_loss: bool = True
    """Learn the answer only, not the prompt."""
    class_weights: (
        Annotated[dict[str, Annotated[dict[str, PositiveDecimal], Field(max_length=256)]], Field(max_length=16)] | None
    ) = None
    """Weight of a record by a field of its output (or `label`) and the value there, e.g. {is_in_scope: {"false": "10.0"}}."""
    early_stopping: EarlyStoppingSpec | None = None
    """Absent: all epochs are run."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """How often work is made safe."""
    seed: Annotated[int, Field(ge=0, le=2147483647)] = 42
    """Seed of everything random."""
    report: ReportSpec | None = None
    """Where curves go besides report.html."""


class SweepSpec(KubeModel):
    """Trials over hyper-parameters; the best is kept."""

    parameters: Annotated[
        dict[str, Annotated[tuple[DecimalString, ...], Field(min_length=1, max_length=32)]],
        Field(min_length=1, max_length=8),
    ]
    """Values by field of spec.training."""
    metric: MetricName = "eval_loss"
    """What decides."""
    goal: Literal["minimize", "maximize"] = "minimize"
    """minimize or maximize."""
    parallelism: Annotated[int, Field(ge=1, le=16)] = 1
    """Trials at a time."""


class JudgeSpec(KubeModel):
    """A language model that scores answers through an OpenAI-compatible endpoint."""

    url: Annotated[str, Field(min_length=8, max_length=1024, pattern=r"^https?://[^\s@?#]+$")]
    """Base URL."""
    model: Annotated[str, Field(min_length=1, max_length=256)]
    """Model name there."""
    secret_ref: SecretRef | None = None
    """Secret with the API key."""


class Gate(KubeModel):
    """One promise about the test split. Bounds are inclusive; a metric that is missing or NaN never passes."""

    cel: ClassVar[tuple[Cel, ...]] = (
        Cel("has(self.min) || has(self.max) || has(self.minDelta)", "a gate needs min, max or minDelta"),
        Cel(
            "!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)",
            "min must not be above max",
            ".min",
        ),
        Cel("has(self.minDelta) == has(self.versus)", "minDelta and versus go together", ".versus"),
        Cel("!has(self.confidence) || has(self.minDelta)", "confidence needs minDelta", ".confidence"),
        Cel(
            "!has(self.confidence) || (double(self.confidence) >= 0.5 && double(self.confidence) < 1.0)",
            "confidence must be in [0.5, 1)",
            ".confidence",
        ),
    )

    metric: MetricName
    """Name of the metric; the task type says which there are."""
    min: DecimalString | None = None
    """Smallest value that passes."""
    max: DecimalString | None = None
    """Largest value that passes."""
    per_class: bool = False
    """The bounds hold for each class by itself."""
    min_delta: DecimalString | None = None
    """Smallest lead over `versus` that passes."""
    versus: Literal["base", "modelRelease"] | None = None
    """What minDelta is measured against: the untuned base, or the incumbent."""
    confidence: Fraction | None = None
    """With minDelta: the lead must hold at this confidence (paired bootstrap over the test records); unset: as measured."""


class EvaluationSpec(KubeModel):
    """What the trained adapter must prove on the untouched test split."""

    baseline: Literal["base", "none"] = "base"
    """Also score the untuned base on the same records; none saves the time."""
    model_release: DnsLabel | None = None
    """Also score what this ModelRelease serves now."""
    judge: JudgeSpec | None = None
    """A judge model, for chat."""
    gates: Annotated[tuple[Gate, ...], Field(max_length=64)] = ()
    """All must hold, else the job ends GatesFailed and nothing can be released from it."""
