"""The training loop as numbers: exact weights, equal configurations, and a resumed run that is the uninterrupted one."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graft_core.api.v1alpha1.finetunejob import ProgressStatus
from graft_core.clock import SystemClock
from graft_trainer.methods import checkpoints
from graft_trainer.methods.plan import TrainPlan
from graft_trainer.modeling.encode import IGNORED, Encoded
from graft_trainer.modeling.faults import Diverged, OutOfMemory
from tests.trainer.tiny import a_plan, make_causal, make_encoder

pytestmark = pytest.mark.slow


class Watching:
    """A Watch that remembers, and asks to stop at a step."""

    def __init__(self, stop_at: int = 10**9) -> None:
        self._stop_at = stop_at
        self.step = 0
        self.resumed_at = 0
        self.statuses: list[ProgressStatus] = []
        self.eval_losses: list[float] = []
        self.checkpoints: list[str] = []

    def should_stop(self) -> bool:
        return self.step >= self._stop_at

    def resumed(self, step: int) -> None:
        self.resumed_at = step

    def stepped(self, status: ProgressStatus) -> None:
        self.step = max(self.step, status.step)
        self.statuses.append(status)

    def saved(self, checkpoint: Path) -> None:
        self.checkpoints.append(checkpoint.name)

    def evaluated(self, eval_loss: float) -> None:
        self.eval_losses.append(eval_loss)


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_causal(tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def examples(count: int) -> list[tuple[Encoded, float]]:
    """Prompts and answers of differing lengths and weights."""
    rows: list[tuple[Encoded, float]] = []
    for i in range(count):
        prompt, answer = [2, *range(10, 13 + i % 5)], [20 + i % 3, *range(30, 31 + i % 4), 1]
        rows.append((Encoded([*prompt, *answer], [IGNORED] * len(prompt) + answer), 1.0 + 2.0 * (i % 2)))
    return rows


def sft(base: Path, rows: list[tuple[Encoded, float]], validation: int = 0) -> Any:
    from graft_trainer.methods.sft import Sft
    from graft_trainer.modeling.tokenizer import load_tokenizer

    return Sft(load_tokenizer(base), rows, rows[:validation])


def classification(count: int, validation: int = 0) -> Any:
    from graft_trainer.methods.classification import Classification

    rows = [([2, 4 + i % 5, 9, 3][: 3 + i % 2], i % 2, 1.0 + i % 2) for i in range(count)]
    return Classification(0, ["bad", "good"], rows, rows[:validation])


def run(plan: TrainPlan, method: Any, out: Path, watch: Watching | None = None) -> Any:
    from graft_trainer.methods.train import train_adapter

    return train_adapter(plan, method, watch or Watching(), SystemClock(), out)


def weights(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_the_loss_of_a_batch_is_the_weighted_mean_over_answer_tokens(causal: Path, tmp_path: Path) -> None:
    import torch

    rows = examples(4)
    trainer = sft(causal, rows).build(a_plan(causal, tmp_path), 4)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    trainer.model.eval()
    with torch.no_grad():
        found = trainer.compute_loss(trainer.model, dict(batch))
        total = weight = 0.0
        for encoded, share in rows:
            logits = trainer.model(input_ids=torch.tensor([encoded.input_ids])).logits[0, :-1]
            labels = torch.tensor(encoded.labels[1:])
            losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORED)
            total += share * float(losses.sum())
            weight += share * int((labels != IGNORED).sum())
    assert float(found) == pytest.approx(total / weight, rel=1e-5)


@pytest.mark.parametrize("kind", ["sft", "classification"])
def test_micro_batches_make_the_same_steps_as_one_batch(
    kind: str, causal: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft_trainer.methods import train as module

    losses: list[list[float]] = []
    for size in (4, 2, 1):
        # Dropout draws other numbers for other micro-batches; without it the steps are the same but for rounding.
        plan = a_plan(causal if kind == "sft" else encoder, tmp_path / str(size), epochs=1)
        plan = replace(plan, adapter=plan.adapter.model_copy(update={"dropout": "0"}))
        monkeypatch.setattr(module, "divisors", lambda _, s=size: [s])
        method = sft(causal, examples(14)) if kind == "sft" else classification(14)
        if kind == "classification":
            _without_dropout(monkeypatch)
        history = run(plan, method, tmp_path / f"out-{size}")
        assert history.micro_batch == size
        losses.append([loss for _, loss in history.losses])
    assert losses[1] == pytest.approx(losses[0], rel=2e-4)
    assert losses[2] == pytest.approx(losses[0], rel=2e-4)


def _without_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    from graft_trainer.methods import classification as module
    from graft_trainer.modeling.load import load_classifier

    real: Callable[..., Any] = load_classifier

    def load(*args: Any, **options: Any) -> Any:
        import torch

        model = real(*args, **options)
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        return model

    monkeypatch.setattr(module, "load_classifier", load)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(encoder: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        run(a_plan(encoder, tmp_path / f"ck-{name}", seed=seed), classification(12), tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


@pytest.mark.parametrize("stop_at", [2, 4, 5], ids=["within-an-epoch", "at-its-end", "in-the-second"])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_byte(causal: Path, tmp_path: Path, stop_at: int) -> None:
    options: dict[str, Any] = {"checkpoint": {"everySteps": 1}, "earlyStopping": {"patience": 9}}
    whole = run(a_plan(causal, tmp_path / "ck-1", **options), sft(causal, examples(14), 4), tmp_path / "whole")
    plan = a_plan(causal, tmp_path / "ck-2", **options)
    run(plan, sft(causal, examples(14), 4), tmp_path / "half", Watching(stop_at))
    assert not (tmp_path / "half").exists()
    watch = Watching()
    resumed = run(plan, sft(causal, examples(14), 4), tmp_path / "half", watch)
    assert watch.resumed_at >= stop_at
    assert resumed == whole
    assert weights(tmp_path / "half") == weights(tmp_path / "whole")


def test_a_checkpoint_torn_by_a_kill_is_passed_over_and_swept(causal: Path, tmp_path: Path) -> None:
    plan = a_plan(causal, tmp_path / "ck", checkpoint={"everySteps": 2, "keep": 3})
    run(plan, sft(causal, examples(14)), tmp_path / "out", Watching(5))
    newest = checkpoints.newest_complete(tmp_path / "ck")
    assert newest is not None
    (newest / "optimizer.pt").write_bytes(b"torn")
    (tmp_path / "ck" / ".saving-9").mkdir()
    watch = Watching()
    run(plan, sft(causal, examples(14)), tmp_path / "out", watch)
    assert watch.resumed_at < checkpoints.step_of(newest)
    assert not (tmp_path / "ck" / ".saving-9").exists()


def test_early_stopping_ends_a_run_that_no_longer_improves_and_keeps_the_best_weights(
    encoder: Path, tmp_path: Path
) -> None:
    plan = a_plan(
        encoder, tmp_path / "ck", epochs=30, learningRate="5e-1", schedule="constant", earlyStopping={"patience": 2}
    )
    watch = Watching()
    history = run(plan, classification(12, 6), tmp_path / "out", watch)
    assert history.steps < history.planned_steps
    by_step = dict(history.eval_losses)
    assert by_step[history.best_step] == min(by_step.values())
    assert watch.eval_losses == [loss for _, loss in history.eval_losses]


def test_a_loss_that_is_no_number_ends_the_run_at_once(causal: Path, tmp_path: Path) -> None:
    rows = [(encoded, math.nan) for encoded, _ in examples(8)]
    with pytest.raises(Diverged, match=r"loss is nan at step 1; lower training\.learningRate"):
        run(a_plan(causal, tmp_path / "ck"), sft(causal, rows), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_micro_batch_that_does_not_fit_is_halved_until_one_does(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    method = classification(12)
    real, tried = method.build, []

    def build(plan: TrainPlan, size: int) -> Any:
        tried.append((size, plan.recompute))
        if size > 1:
            raise torch.OutOfMemoryError("double of a full GPU")
        return real(plan, size)

    monkeypatch.setattr(method, "build", build)
    history = run(a_plan(encoder, tmp_path / "ck", epochs=1), method, tmp_path / "out")
    assert tried == [(4, False), (2, False), (1, False)]
    assert (history.micro_batch, history.steps) == (1, 3)


def test_when_not_even_one_record_fits_the_message_says_what_to_lower(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = classification(12)

    def build(_plan: TrainPlan, _size: int) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: double")

    monkeypatch.setattr(method, "build", build)
    with pytest.raises(OutOfMemory, match=r"one record of up to 4 tokens does not fit.*lower training\.maxLength"):
        run(a_plan(encoder, tmp_path / "ck"), method, tmp_path / "out")


def test_an_exploding_loss_is_told_from_a_single_bad_batch() -> None:
    from graft_trainer.methods.loop import EXPLODED_STEPS, WatchCallback

    callback = WatchCallback(Watching(), SystemClock(), lambda: 0)
    callback._refuse_lost(2.0, 1)
    callback._refuse_lost(99.0, 2)
    callback._refuse_lost(2.0, 3)
    for step in range(4, 3 + EXPLODED_STEPS):
        callback._refuse_lost(99.0, step)
    with pytest.raises(Diverged, match="over 10 times the first one"):
        callback._refuse_lost(99.0, 99)
