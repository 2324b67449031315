"""The training loop that all objectives share, as a mixin over transformers' Trainer.

What it changes there:

- loss: sum of weighted token (or record) losses over *all* micro-batches of a step, divided by the sum of their weights. So a step is the
  weighted mean over the effective batch, whatever the micro-batch; equal weights give the plain mean over tokens.
- order: shuffled by seed and epoch, then sorted by length within each effective batch. A step sees the same records and has the same
  gradient, with less padding in its micro-batches.
- eval_loss: the same weighted mean, over the whole validation split at once (Trainer's own is a mean of batch means).
- checkpoints: complete or absent (methods.checkpoints).
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import TrainerCallback

from graft_core.api.v1alpha1.finetunejob import ProgressStatus
from graft_core.clock import Clock
from graft_trainer.methods import checkpoints, processes
from graft_trainer.methods.plan import Watch
from graft_trainer.modeling.faults import Diverged

if TYPE_CHECKING:
    from transformers import Trainer as _Base
    from transformers import TrainerControl, TrainerState, TrainingArguments
else:
    _Base = object

__all__ = ["EpochSampler", "LoopMixin", "WatchCallback"]

EXPLODED_FACTOR: Final = 10.0
"""A loss this many times the first one (at least 1 nat) is exploding …"""
TELL_INTERVAL_S: Final = 0.5
"""Between two readings of the token count, which waits for the GPU."""
EXPLODED_STEPS: Final = 10
"""… when it stays there for so many logged steps: a single bad batch is no reason to stop."""


class EpochSampler(torch.utils.data.Sampler[int]):
    """Record indices of one epoch; depends on seed and epoch alone, so a resumed run sees the same order."""

    def __init__(
        self, lengths: list[int], batch: int, seed: int, epoch_of: Callable[[], int], multiple: int = 1
    ) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch_of = epoch_of
        self._padding = -len(lengths) % multiple

    def __len__(self) -> int:
        return len(self._lengths) + self._padding

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch_of())
        order: list[int] = torch.randperm(len(self._lengths), generator=generator).tolist()
        for start in range(0, len(order), self._batch):
            yield from sorted(order[start : start + self._batch], key=self._lengths.__getitem__, reverse=True)
        # The row behind the last one weighs nothing: with it every process has as many micro-batches as the others.
        yield from [len(self._lengths)] * self._padding


class LoopMixin(_Base):
    """Put before Trainer (or a subclass) among the bases; the subclass says what the weighted loss of a micro-batch is."""

    lengths: list[int]
    """Tokens of each training record; set before train()."""
    checkpoint_folder: Path
    """Where complete checkpoints go; set before train()."""
    watch: Watch
    """Told of each complete checkpoint; set before train()."""
    keep: int = 2
    """Complete checkpoints kept beside the best one."""
    tokens_seen: torch.Tensor | int = 0
    """Tokens without padding that were trained on in this process; on the device, since reading it waits for the GPU."""
    control: Any  # Trainer's
    model: Any  # Trainer's; set before anything here is called
    loss_is_scaled_for_ga = True  # compute_loss divides by the whole step's weight already

    def weighted_loss(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Compute the weighted sum of losses of one micro-batch, a scalar in nats."""
        raise NotImplementedError

    def weight_of(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Sum the weights that weighted_loss summed over, a scalar."""
        raise NotImplementedError

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, FBT002  # Trainer's signature
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Give one micro-batch's share of the step's loss."""
        total = self.weight_of(inputs) if num_items_in_batch is None else num_items_in_batch
        return self.weighted_loss(model, inputs) / total

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device) -> Any:  # noqa: ANN401  # Trainer's signature
        tokens = torch.stack([batch["attention_mask"].sum() for batch in batch_samples]).sum()
        weight = torch.stack([self.weight_of(batch) for batch in batch_samples]).sum()
        tokens, weight = processes.summed(tokens, weight)
        self.tokens_seen = self.tokens_seen + tokens
        # DistributedDataParallel takes the mean of the processes' gradients, and the sum is what a step is.
        return (weight / processes.world()).to(device)

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:  # noqa: ANN401  # Trainer's signature
        args = self.args
        together = args.per_device_train_batch_size * processes.world()
        batch = together * args.gradient_accumulation_steps
        steps = -(-len(self.lengths) // batch)
        multiple = together if processes.world() > 1 else 1
        return EpochSampler(self.lengths, batch, args.seed, lambda: self.state.global_step // steps, multiple)

    def evaluate(self, *_args: Any, **_kwargs: Any) -> dict[str, float]:  # noqa: ANN401  # Trainer's signature
        """Compute eval_loss over the validation split."""
        self.model.eval()
        loss = weight = torch.zeros((), dtype=torch.float64)
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in self._eval_batches():
                inputs = self._prepare_inputs(batch)
                weight = weight + self.weight_of(inputs).double().cpu()
                loss = loss + self.weighted_loss(self.model, inputs).double().cpu()
        loss, weight = (
            found.cpu() for found in processes.summed(loss.to(self.args.device), weight.to(self.args.device))
        )
        metrics = {"eval_loss": float(loss / weight)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _eval_batches(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield this process's share of the validation split: every record once, in all processes together."""
        rows: Any = self.eval_dataset  # a Dataset or a list: Trainer's annotation knows neither length nor index
        size = self.args.per_device_eval_batch_size
        mine = range(processes.rank(), len(rows), processes.world())
        for start in range(0, len(mine), size):
            yield self.data_collator([rows[i] for i in mine[start : start + size]])

    def _load_best_model(self) -> None:
        # Only the first machine keeps checkpoints, and only its weights are written.
        if Path(self.state.best_model_checkpoint or "").exists():
            super()._load_best_model()

    def _get_output_dir(self, trial: Any = None) -> str:  # noqa: ANN401  # Trainer's signature
        # Trainer writes `<this>/checkpoint-N`; seal() then gives it its name.
        return str(self.checkpoint_folder / f"{checkpoints.SAVING}{self.state.global_step}")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ANN401  # Trainer's signature
        step = self.state.global_step
        saving = Path(self._get_output_dir())
        if processes.is_first():
            shutil.rmtree(saving, ignore_errors=True)
        processes.wait_for_all()
        super()._save_checkpoint(model, trial)
        processes.wait_for_all()
        made = saving / f"checkpoint-{step}"
        best: Path | None = None
        if self.state.best_global_step:
            # Trainer looked for it beside the unfinished folder.
            best = self.checkpoint_folder / f"checkpoint-{self.state.best_global_step}"
            self.state.best_model_checkpoint = str(best)
        if processes.is_first():
            if best is not None:
                self.state.save_to_json(str(made / "trainer_state.json"))
            checkpoints.seal(made, self.checkpoint_folder, step)
            shutil.rmtree(saving, ignore_errors=True)
            checkpoints.prune(self.checkpoint_folder, self.keep, best)
            self.watch.saved(self.checkpoint_folder / f"checkpoint-{step}")
        processes.wait_for_all()


class WatchCallback(TrainerCallback):
    """Tells a Watch how it goes, stops on SIGTERM, and ends a run whose loss is lost."""

    def __init__(self, watch: Watch, clock: Clock, tokens_of: Callable[[], int]) -> None:
        self._watch = watch
        self._clock = clock
        self._tokens_of = tokens_of
        self._began = (0.0, 0, 0)
        self._window: list[tuple[float, int]] = []
        self._loss: float | None = None
        self._first_loss: float | None = None
        self._high = 0

    def on_train_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **_: object
    ) -> None:
        """Start the clocks."""
        self._began = (self._clock.monotonic(), state.global_step, 0)
        self._window = [(self._began[0], 0)]
        self._tell(state)

    def on_step_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **_: object
    ) -> None:
        """Tell where it stands, now and then; leave if asked to."""
        if self._clock.monotonic() - self._window[-1][0] >= TELL_INTERVAL_S:
            self._tell(state)
        # All processes leave at the same step, whichever of them was told to.
        if processes.agree(self._watch.should_stop()):
            control.should_save = True
            control.should_training_stop = True

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Look at the loss; raise Diverged where it is NaN, infinite, or has been exploding for a while."""
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        self._loss = float(loss)
        self._refuse_lost(self._loss, state.global_step)
        self._tell(state)

    def on_evaluate(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        metrics: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Pass the validation loss on; raise Diverged where it is NaN or infinite."""
        loss = (metrics or {}).get("eval_loss")
        if loss is not None:
            _refuse_no_number("eval_loss", loss, state.global_step)
            self._watch.evaluated(loss)

    def _refuse_lost(self, loss: float, step: int) -> None:
        _refuse_no_number("loss", loss, step)
        if self._first_loss is None:
            self._first_loss = max(loss, 1.0)
        self._high = self._high + 1 if loss > EXPLODED_FACTOR * self._first_loss else 0
        if self._high >= EXPLODED_STEPS:
            raise Diverged(
                f"loss {loss:.4g} at step {step} is over {EXPLODED_FACTOR:g} times the first one ({self._first_loss:.4g})"
                f" and has been for {EXPLODED_STEPS} logged steps; lower training.learningRate or raise warmupRatio"
            )

    def _tell(self, state: "TrainerState") -> None:
        now = self._clock.monotonic()
        began, first_step, _ = self._began
        self._window = [*self._window[-20:], (now, self._tokens_of())]
        span_s = self._window[-1][0] - self._window[0][0]
        tokens = self._window[-1][1] - self._window[0][1]
        done = state.global_step - first_step
        left = state.max_steps - state.global_step
        self._watch.stepped(
            ProgressStatus(
                step=state.global_step,
                total_steps=max(state.max_steps, 0),
                steps=f"{state.global_step}/{max(state.max_steps, 0)}",
                epoch=f"{state.epoch or 0.0:.4g}",
                loss=None if self._loss is None else f"{self._loss:.6g}",
                tokens_per_second=int(tokens / span_s) if span_s > 0 else 0,
                eta_seconds=max(0, int((now - began) / done * left)) if done else 0,
            )
        )


def _refuse_no_number(name: str, loss: float, step: int) -> None:
    if not torch.isfinite(torch.tensor(loss)):
        raise Diverged(
            f"{name} is {loss} at step {step}; lower training.learningRate, raise warmupRatio, or look for broken records"
        )
