"""The base model script: whole or not at all, cached by what made it, and an ordinary model folder."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.no_cover  # an example's script: nothing of it is measured

SCRIPT = Path(__file__).parents[2] / "examples" / "02-shop-query-json" / "base_model.py"
CORPUS = SCRIPT.with_name("base_corpus.py")


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, str(SCRIPT), "--out", str(out), "--progress", "jsonl", "--threads", "1", *more]


def told(out: Path, *more: str) -> list[dict[str, object]]:
    done = subprocess.run(command(out, *more), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_corpus_never_shows_the_task() -> None:
    text = CORPUS.read_text(encoding="utf-8")
    taught = text.split('"""', 2)[2]  # the module docstring says what is left out
    assert "keyword" not in taught
    assert "is_in_scope" not in taught


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of twelve steps, in a folder of its own; each start of the script loads torch again, so the tests share it."""
    out = tmp_path_factory.mktemp("base") / "base"
    first = told(out, "--steps", "12")
    assert first[0]["step"] == 10
    assert first[-1] == {"cached": False, "path": str(out)}
    return out


@pytest.mark.slow
def test_base_is_trained_once_loads_and_answers(base: Path) -> None:
    assert told(base, "--steps", "12") == [{"cached": True, "path": str(base)}]
    assert [path.name for path in base.parent.iterdir()] == ["base"]

    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    assert 1_500_000 < sum(p.numel() for p in model.parameters()) < 2_500_000
    turns = [{"role": "user", "content": "tìm sữa"}, {"role": "assistant", "content": "sữa"}]
    encoded = tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    learned = [i for i, m in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(learned) == "sữa<|end|>"


@pytest.mark.slow
def test_same_seed_makes_the_same_weights_and_another_recipe_trains_anew(base: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    told(again, "--steps", "12")
    assert (again / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    assert told(again, "--steps", "2")[-1]["cached"] is False


@pytest.mark.slow
def test_interrupted_base_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(command(tmp_path / "base"), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate()[0]
    assert process.returncode == 130
    assert json.loads(said.splitlines()[-1]) == {"interrupted": True}
    assert list(tmp_path.iterdir()) == []
