"""What every engine does, held against the double and the real ones alike."""

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from graft_core.contracts.predictor_config import EngineConfig
from graft_core.errors import Corrupt
from graft_core.tasks.messages import Message
from graft_predictor.engines.base import Chunk, ContextLengthExceeded, Engine, GenerateRequest, LoadPlan, Sampling
from graft_predictor.engines.registry import make_engine
from tests.predictor.doubles import ScriptedEngine
from tests.predictor.models import LABELS, Artifact, make_causal, make_encoder

KINDS = [
    "double",
    pytest.param("causal", marks=pytest.mark.slow),
    pytest.param("beams", marks=pytest.mark.slow),
    pytest.param("encoder", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Artifact]:
    made: dict[str, Artifact] = {}

    def make(kind: str) -> Artifact:
        if kind not in made:
            root: Path = tmp_path_factory.mktemp(kind)
            made[kind] = make_encoder(root) if kind == "encoder" else make_causal(root)
        return made[kind]

    return make


def plan_of(artifact: Artifact, *args: str) -> LoadPlan:
    return LoadPlan(
        engine=EngineConfig(threads=1, args=args),
        base=artifact.manifest.base_model,
        base_dir=artifact.base,
        adapter_dir=artifact.folder,
        model_class=artifact.manifest.compatibility.model_class,
        max_length=64,
        labels=tuple(artifact.manifest.task.labels or ()),
    )


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, artifacts: Callable[[str], Artifact]) -> Iterator[Engine]:
    made: Engine
    if request.param == "double":
        made = ScriptedEngine()
    else:
        kind = "encoder" if request.param == "encoder" else "causal"
        made = make_engine(plan_of(artifacts(kind), *(["--num-beams=2"] if request.param == "beams" else [])))
        made.load()
    yield made
    made.stop()


def ask(text: str = "where is my order", **sampling: object) -> GenerateRequest:
    return GenerateRequest((Message("user", text),), Sampling(**{"max_tokens": 8, **sampling}))  # type: ignore[arg-type]  # a table's values


async def collect(chunks: AsyncGenerator[Chunk]) -> list[Chunk]:
    return [chunk async for chunk in chunks]


async def test_only_the_last_chunk_carries_the_end_and_the_usage(engine: Engine) -> None:
    *rest, last = await collect(engine.generate(ask()))

    assert last.finish_reason in {"stop", "length"}
    assert last.usage is not None
    assert last.usage.prompt_tokens == engine.count_tokens(ask().messages)
    assert all(chunk.finish_reason is None and chunk.usage is None for chunk in rest)


async def test_the_same_request_has_the_same_answer(engine: Engine) -> None:
    first, second = await asyncio.gather(collect(engine.generate(ask())), collect(engine.generate(ask())))

    assert "".join(chunk.text for chunk in first) == "".join(chunk.text for chunk in second)


async def test_an_answer_that_is_given_up_leaves_the_engine_fit(engine: Engine) -> None:
    chunks = engine.generate(ask(max_tokens=30))
    await anext(chunks)
    await chunks.aclose()

    assert (await collect(engine.generate(ask())))[-1].finish_reason is not None
    assert engine.is_healthy()


async def test_a_stopped_engine_is_not_healthy(engine: Engine) -> None:
    engine.stop()

    assert not engine.is_healthy()


@pytest.mark.slow
class TestCausal:
    @pytest.fixture
    def causal(self, artifacts: Callable[[str], Artifact]) -> Iterator[Engine]:
        made = make_engine(plan_of(artifacts("causal")))
        made.load()
        yield made
        made.stop()

    async def test_max_tokens_ends_by_length(self, causal: Engine) -> None:
        chunks = await collect(causal.generate(ask(max_tokens=3)))

        assert chunks[-1].finish_reason == "length"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 3

    async def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(self, causal: Engine) -> None:
        whole = "".join(chunk.text for chunk in await collect(causal.generate(ask(max_tokens=20))))
        stop = whole[4:6]

        chunks = await collect(causal.generate(ask(max_tokens=20, stop=(stop,))))

        assert "".join(chunk.text for chunk in chunks) == whole[: whole.index(stop)]
        assert chunks[-1].finish_reason == "stop"

    async def test_a_seed_makes_sampling_repeatable(self, causal: Engine) -> None:
        request = ask(temperature=1.5, seed=3, max_tokens=16)
        texts = {"".join(c.text for c in await collect(causal.generate(request))) for _ in range(2)}
        other = "".join(c.text for c in await collect(causal.generate(ask(temperature=1.5, seed=4, max_tokens=16))))

        assert len(texts) == 1
        assert other not in texts

    async def test_beams_and_greedy_may_differ_but_both_are_whole(self, artifacts: Callable[[str], Artifact]) -> None:
        beams = make_engine(plan_of(artifacts("causal"), "--num-beams=3"))
        beams.load()
        chunks = await collect(beams.generate(ask(max_tokens=5)))
        beams.stop()

        assert len(chunks) <= 6
        assert not beams.traits.streams

    async def test_a_prompt_over_the_context_is_refused(self, causal: Engine) -> None:
        with pytest.raises(ContextLengthExceeded, match=r"prompt has \d+ tokens, the model takes 256") as caught:
            await collect(causal.generate(ask("áo khoác " * 300)))

        assert caught.value.path == "messages"

    async def test_prompt_and_max_tokens_over_the_context_are_refused(self, causal: Engine) -> None:
        with pytest.raises(ContextLengthExceeded, match="leave") as caught:
            await collect(causal.generate(ask(max_tokens=256)))

        assert caught.value.path == "max_tokens"

    async def test_without_max_tokens_the_argument_counts(self, artifacts: Callable[[str], Artifact]) -> None:
        short = make_engine(plan_of(artifacts("causal"), "--max-new-tokens=2"))
        short.load()
        chunks = await collect(short.generate(ask(max_tokens=None)))
        short.stop()

        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 2

    async def test_the_bases_own_penalties_do_not_count(self, causal: Engine, tmp_path: Path) -> None:
        artifact = make_causal(tmp_path)
        settings = artifact.base / "generation_config.json"
        chatty = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "eos_token_id": 1}
        settings.write_text(json.dumps(json.loads(settings.read_text()) | chatty))
        engine = make_engine(plan_of(artifact))
        engine.load()
        texts = ["".join(c.text for c in await collect(e.generate(ask(max_tokens=20)))) for e in (causal, engine)]
        engine.stop()

        assert texts[0] == texts[1]

    def test_row_53_a_chat_template_that_reaches_for_python_is_refused(
        self, artifacts: Callable[[str], Artifact], tmp_path: Path
    ) -> None:
        artifact = artifacts("causal")
        folder = Path(shutil.copytree(artifact.folder, tmp_path / "forged"))
        forged = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
        (folder / "chat_template.jinja").write_text(forged)
        engine = make_engine(replace(plan_of(artifact), adapter_dir=folder))

        with pytest.raises(Corrupt, match="chat template cannot be rendered"):
            engine.load()

    async def test_folded_weights_answer_as_the_adapter_beside_the_base(
        self, causal: Engine, artifacts: Callable[[str], Artifact]
    ) -> None:
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        artifact = artifacts("causal")
        apart = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(artifact.base), artifact.folder).eval()
        ids = torch.tensor([[7, 8, 9, 10]])
        with torch.inference_mode():
            expected = apart(ids).logits
            actual = causal._model(ids).logits  # type: ignore[attr-defined]  # the module behind the protocol

        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
class TestEncoder:
    @pytest.fixture
    def encoder(self, artifacts: Callable[[str], Artifact]) -> Iterator[Engine]:
        made = make_engine(plan_of(artifacts("encoder")))
        made.load()
        yield made
        made.stop()

    async def test_the_text_is_the_likeliest_label_and_the_scores_sum_to_one(self, encoder: Engine) -> None:
        (chunk,) = await collect(encoder.generate(ask()))

        assert chunk.scores is not None
        assert set(chunk.scores) == set(LABELS)
        assert chunk.text == max(LABELS, key=chunk.scores.__getitem__)
        assert sum(chunk.scores.values()) == pytest.approx(1.0)

    async def test_a_batch_answers_as_each_text_alone(self, encoder: Engine) -> None:
        texts = ["where is my order", "refund please", "the order is late late late", "order"]
        alone = [(await collect(encoder.generate(ask(text))))[0].scores for text in texts]
        together = await asyncio.gather(*(collect(encoder.generate(ask(text))) for text in texts))

        for one, (chunk,) in zip(alone, together, strict=True):
            assert chunk.scores == pytest.approx(one, abs=1e-5)

    async def test_a_text_over_the_context_fails_alone(self, encoder: Engine) -> None:
        long, short = await asyncio.gather(
            collect(encoder.generate(ask("order " * 100))), collect(encoder.generate(ask())), return_exceptions=True
        )

        assert isinstance(long, ContextLengthExceeded)
        assert isinstance(short, list)
