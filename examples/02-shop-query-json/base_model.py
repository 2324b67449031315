"""Train the small base model of this example on the spot: about 2 million parameters, a minute or two on two cores, cached.

A Llama of hidden size 192 and 4 layers with its own byte-level BPE, taught other instructions than the task's (`base_corpus.py`). It stands in
for a real base model where none can be fetched: small enough for a laptop, real enough that LoRA has something to build on.

The folder given by `--out` is an ordinary Hugging Face folder. It carries the key of what made it (the scripts, the seed, the steps,
the versions), so that a second call ends at once and a changed script trains anew. It appears whole or not at all: the work is done in
a folder beside it, which is renamed at the end, and removed when interrupted.
"""

import argparse
import hashlib
import itertools
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

sys.path.insert(0, str(Path(__file__).parent))  # run by path from any folder, and the corpus lies beside it
from base_corpus import Conversation, conversations  # only found once the path is set

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["Progress", "Recipe", "is_made", "main", "make_base"]

KEY_FILE = "base.json"
"""Says what made the folder; written last, so that a folder without it is not a base."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "<|assistant|>{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{%- else -%}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)
"""Roles as single tokens; the span between the `generation` marks is what a trainer may learn from."""

PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
UNLEARNED = -100
"""Label of a token that carries no loss."""

LENGTH_POOL = 8
"""Batches whose conversations are sorted by length together, so that little is spent on padding."""

BPE_SAMPLE = 8000
"""Conversations the tokenizer is learned from; more changes next to nothing."""

PROGRESS_EVERY = 10

INIT_STD = 0.06
"""Standard deviation of the first weights: with the usual 0.02, copying is found after twice the steps (the model is narrow)."""

Example: TypeAlias = tuple[list[int], list[int]]
"""Token ids, and labels of the same length."""


@dataclass(frozen=True)
class Recipe:
    """What decides the weights, beside the scripts and the library versions."""

    seed: int = 0
    steps: int = 400
    batch: int = 16
    hidden: int = 192
    layers: int = 4
    heads: int = 4
    vocabulary: int = 1024
    learning_rate: float = 2e-3

    def key(self) -> str:
        """Digest of everything that decides the weights but the number of threads, which moves only the last bits."""
        # Heavy libraries are imported where they are used: a cached base answers at once.
        from importlib.metadata import version

        here = Path(__file__).parent
        digest = hashlib.sha256()
        for name in ("base_model.py", "base_corpus.py", "generate.py"):
            digest.update((here / name).read_bytes())
        facts = {**asdict(self), **{name: version(name) for name in ("torch", "transformers", "tokenizers")}}
        digest.update(json.dumps(facts, sort_keys=True).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Progress:
    """One moment of the training, for whoever watches."""

    step: int
    totalSteps: int  # noqa: N815  # spelled as in the status of a FineTuneJob
    loss: float
    etaSeconds: int  # noqa: N815  # as above


def main() -> int:
    """Make the base unless it is there already; exit code 130 when interrupted."""
    defaults = Recipe()
    parser = argparse.ArgumentParser(description="Train the small base model of this example, or find it cached.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / ".cache" / "base", help="the model folder")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--steps", type=int, default=defaults.steps, help="fewer steps make a worse model sooner")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="CPU threads for torch")
    parser.add_argument(
        "--progress", choices=("text", "jsonl", "none"), default="text", help="how progress is told on stdout"
    )
    args = parser.parse_args()
    recipe = Recipe(seed=args.seed, steps=args.steps)
    if is_made(args.out, recipe):
        _say(args.progress, f"base model: cached in {args.out}", {"cached": True, "path": str(args.out)})
        return 0
    try:
        make_base(args.out, recipe, args.threads, lambda moment: _tell(args.progress, moment))
    except KeyboardInterrupt:
        _say(args.progress, "base model: interrupted, nothing was kept", {"interrupted": True})
        return 130
    _say(args.progress, f"base model: made in {args.out}", {"cached": False, "path": str(args.out)})
    return 0


def is_made(out: Path, recipe: Recipe) -> bool:
    """Whether `out` holds the model that this recipe makes, with every file it was written with."""
    try:
        made = json.loads((out / KEY_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return bool(made["key"] == recipe.key()) and all((out / name).is_file() for name in made["files"])


def make_base(out: Path, recipe: Recipe, threads: int, tell: Callable[[Progress], None]) -> None:
    """Train the base and put it at `out` in one rename; what stood there before is replaced.

    Args:
        out: The model folder; its parent is made if need be.
        recipe: What to train.
        threads: CPU threads for torch; another number moves the last bits of the weights.
        tell: Called every few steps.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        made = work / "new"
        _train(made, recipe, threads, tell)
        files = sorted(path.name for path in made.iterdir())
        (made / KEY_FILE).write_text(
            json.dumps({"key": recipe.key(), "recipe": asdict(recipe), "files": files}, indent=1), "utf-8"
        )
        if out.exists():
            out.rename(work / "old")
        made.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _train(folder: Path, recipe: Recipe, threads: int, tell: Callable[[Progress], None]) -> None:
    import torch
    from torch.nn import functional
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    talks = list(itertools.islice(conversations(recipe.seed), recipe.steps * recipe.batch))
    tokenizer = _tokenizer(talks[:BPE_SAMPLE], recipe.vocabulary)
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=recipe.vocabulary, hidden_size=recipe.hidden, intermediate_size=recipe.hidden * 8 // 3,
            num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads,
            max_position_embeddings=1024, tie_word_embeddings=True, initializer_range=INIT_STD, pad_token_id=pad, eos_token_id=end, bos_token_id=None,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.1
    )
    started = time.monotonic()
    for step, batch in enumerate(_batches(_examples(talks, tokenizer), recipe), start=1):
        longest = max(len(ids) for ids, _ in batch)
        # Padding on the right is never looked at by a causal model, so no mask is needed.
        ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in batch])
        labels = torch.tensor([labels + [UNLEARNED] * (longest - len(labels)) for _, labels in batch])[:, 1:]
        learned = labels != UNLEARNED
        # Only answer tokens go through the output layer: two thirds of it would be thrown away.
        states = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][learned]
        loss = functional.cross_entropy(model.lm_head(states), labels[learned])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % PROGRESS_EVERY == 0 or step == recipe.steps:
            left = (time.monotonic() - started) / step * (recipe.steps - step)
            tell(Progress(step, recipe.steps, round(loss.item(), 4), round(left)))
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad, do_sample=False, max_new_tokens=128)
    model.eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(talks: Sequence[Conversation], vocabulary: int) -> "PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END, SYSTEM, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for system, turns in talks for text in (system, *itertools.chain.from_iterable(turns)))
    learned.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learned, pad_token=PAD, eos_token=END, padding_side="left")
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _examples(talks: Sequence[Conversation], tokenizer: "PreTrainedTokenizerFast") -> list[Example]:
    """Token ids of each conversation as the chat template writes it, with labels on the answers and their ends alone."""
    pieces: list[tuple[int, bool, str]] = []
    for index, (system, turns) in enumerate(talks):
        opening = f"{SYSTEM}{system}{END}" if system else ""
        for ask, answer in turns:
            pieces += [(index, False, f"{opening}{USER}{ask}{END}{ASSISTANT}"), (index, True, f"{answer}{END}")]
            opening = ""
    examples: list[Example] = [([], []) for _ in talks]
    encoded = tokenizer([text for _, _, text in pieces], add_special_tokens=False)["input_ids"]
    for (index, answers, _), ids in zip(pieces, encoded, strict=True):
        examples[index][0].extend(ids)
        examples[index][1].extend(ids if answers else [UNLEARNED] * len(ids))
    return examples


def _batches(examples: Sequence[Example], recipe: Recipe) -> Iterator[Sequence[Example]]:
    """Batches of like length, in an order that the seed decides."""
    rng = random.Random(recipe.seed)
    pool = recipe.batch * LENGTH_POOL
    for start in range(0, len(examples), pool):
        near = sorted(examples[start : start + pool], key=lambda example: len(example[0]))
        batches = [near[at : at + recipe.batch] for at in range(0, len(near), recipe.batch)]
        rng.shuffle(batches)
        yield from batches


def _tell(how: str, moment: Progress) -> None:
    text = f"base model: step {moment.step}/{moment.totalSteps}, loss {moment.loss:.3f}, {moment.etaSeconds} s left"
    _say(how, text, asdict(moment))


def _say(how: str, text: str, fields: dict[str, object]) -> None:
    if how != "none":
        sys.stdout.write((text if how == "text" else json.dumps(fields)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
