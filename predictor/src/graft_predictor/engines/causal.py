"""Text generation with a causal language model: one request at a time, streamed token by token."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from graft_core.errors import Corrupt
from graft_core.tasks.messages import Message, to_dicts
from graft_predictor.engines.args import parse_engine_args
from graft_predictor.engines.base import (
    Chunk,
    ContextLengthExceeded,
    EngineTraits,
    FinishReason,
    GenerateRequest,
    LoadPlan,
    Usage,
)
from graft_predictor.engines.decoding import IncrementalText, StopScanner
from graft_predictor.engines.loading import load_model, load_tokenizer
from graft_predictor.engines.worker import BatchWorker, Job

__all__ = ["CausalEngine"]


class CausalEngine:
    """transformers' `generate` in this process."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._args = parse_engine_args(plan.args)
        self._tokenizer: Any = None
        self._model: Any = None
        self._device = "cpu"
        self._context_length = plan.max_length
        self._end_ids: frozenset[int] = frozenset()
        self._worker = BatchWorker(self._handle, max_batch=1, name="graft-engine")

    @property
    def traits(self) -> EngineTraits:
        """Its row of the table."""
        return EngineTraits(
            name="transformers", streams=self._args.num_beams == 1, structured="none", adapters="static"
        )

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        return self._context_length

    @property
    def chat_template(self) -> str | None:
        """The tokenizer's, or the fallback."""
        template: str | None = self._tokenizer.chat_template
        return template

    def load(self) -> None:
        """Load model and tokenizer, and start the thread."""
        self._tokenizer = load_tokenizer(self._plan)
        loaded = load_model(self._plan, self._args)
        self._model, self._device, self._context_length = loaded.model, loaded.device, loaded.context_length
        self._end_ids = self._find_end_ids()
        self._worker.start()

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt, the generation prompt included."""
        return len(self._encode(messages))

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        """Answer; with beams the whole answer is one chunk."""
        job = Job(request, asyncio.get_running_loop())
        self._worker.put(job)
        async for chunk in job.chunks():
            yield chunk

    def is_healthy(self) -> bool:
        """True while the thread lives."""
        return self._worker.is_alive()

    def stop(self) -> None:
        """Stop the thread."""
        self._worker.stop()

    def _encode(self, messages: tuple[Message, ...]) -> list[int]:
        text = self._render(messages, add_generation_prompt=True)
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        try:
            text: str = self._tokenizer.apply_chat_template(
                to_dicts(messages), tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except TemplateError as err:
            # transformers renders in Jinja's sandbox; what reaches for Python's internals ends here.
            raise Corrupt(f"the tokenizer's chat template cannot be rendered ({type(err).__name__})") from err
        return text

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _find_end_ids(self) -> frozenset[int]:
        """Tokens that end an answer: the model's own, and the one the chat template writes after an answer.

        Base models often end a text with another token than the chat format ends a turn with.
        """
        configured = self._model.generation_config.eos_token_id
        ends = set(configured if isinstance(configured, list) else [configured])
        ends.update(_published_end_ids(self._plan.adapter_dir))
        ends.add(self._tokenizer.eos_token_id)
        question, answer = Message("user", "a"), "b"
        prompt = self._render([question], add_generation_prompt=True)
        whole = self._render([question, Message("assistant", answer)], add_generation_prompt=False)
        if whole.startswith(prompt + answer):
            tail: list[int] = self._tokenizer(whole[len(prompt + answer) :], add_special_tokens=False)["input_ids"]
            ends.update(token for token in tail[:1] if token in self._tokenizer.all_special_ids)
        return frozenset(token for token in ends if isinstance(token, int))

    def _handle(self, batch: Sequence[Job]) -> None:
        for job in batch:
            try:
                self._answer(job)
            except ContextLengthExceeded as err:
                job.fail(err)

    def _max_new_tokens(self, job: Job, prompt_tokens: int) -> int:
        asked = job.request.sampling.max_tokens
        left = self._context_length - prompt_tokens
        if left < 1:
            raise ContextLengthExceeded(
                f"messages: the prompt has {prompt_tokens} tokens, the model takes {self._context_length}"
                " for prompt and answer; shorten it",
                path="messages",
            )
        if asked is not None and asked > left:
            raise ContextLengthExceeded(
                f"max_tokens: {asked}, but {prompt_tokens} prompt tokens leave {left} of the model's"
                f" {self._context_length}; ask for fewer or shorten the prompt",
                path="max_tokens",
            )
        return asked if asked is not None else min(self._args.max_new_tokens, left)

    def _answer(self, job: Job) -> None:
        import torch

        prompt = self._encode(job.request.messages)
        limit = self._max_new_tokens(job, len(prompt))
        sampling = job.request.sampling
        run = _Run(job, IncrementalText(self._decode), StopScanner(sampling.stop), self._end_ids, len(prompt))
        kwargs: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if sampling.temperature > 0:
            # One thread alone draws random numbers, so the global generator is as good as one of our own.
            torch.manual_seed(sampling.seed if sampling.seed is not None else secrets.randbits(63))
            kwargs = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        ids = torch.tensor([prompt], device=self._device)
        with torch.inference_mode():
            out: Any = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=limit,
                num_beams=self._args.num_beams,
                eos_token_id=sorted(self._end_ids) or None,
                pad_token_id=self._tokenizer.pad_token_id,
                streamer=run if self._args.num_beams == 1 else None,
                stopping_criteria=[run.should_stop],
                **kwargs,
            )
        if self._args.num_beams > 1:
            run.put_all(out[0][len(prompt) :].tolist())
        run.finish()


def _published_end_ids(folder: Path) -> list[object]:
    """What the adapter's generation_config.json says, if there is one; its bytes were verified."""
    path = folder / "generation_config.json"
    found: object = json.loads(path.read_bytes()).get("eos_token_id") if path.is_file() else None
    return found if isinstance(found, list) else [found]


class _Run:
    """One answer in the making; plays transformers' streamer and stopping criterion."""

    def __init__(
        self, job: Job, text: IncrementalText, stops: StopScanner, end_ids: frozenset[int], prompt_tokens: int
    ) -> None:
        self._job = job
        self._text = text
        self._stops = stops
        self._end_ids = end_ids
        self._prompt_tokens = prompt_tokens
        self._tokens = 0
        self._is_ended = False
        self._saw_prompt = False

    def put(self, value: Any) -> None:  # noqa: ANN401  # a tensor; transformers' streamer protocol
        """Take the next token; the first call brings the prompt."""
        if not self._saw_prompt:
            self._saw_prompt = True
            return
        self.put_all(value.reshape(-1).tolist())

    def end(self) -> None:
        """Part of the streamer protocol; finish() does it, with beams too."""

    def put_all(self, tokens: Sequence[int]) -> None:
        """Take tokens up to the first that ends the answer."""
        for token in tokens:
            if self._is_ended or self._stops.is_stopped:
                return
            self._tokens += 1
            if token in self._end_ids:
                self._is_ended = True
                return
            self._emit(self._stops.push(self._text.push(token)))

    def should_stop(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ANN401  # tensors
        """Stop when nobody reads any more, or a stop text came; (batch,) booleans."""
        import torch

        is_over = self._job.cancelled.is_set() or self._stops.is_stopped
        return torch.full((input_ids.shape[0],), is_over, device=input_ids.device, dtype=torch.bool)

    def finish(self) -> None:
        """Give out the rest and the end."""
        rest = self._stops.push(self._text.flush()) + self._stops.flush()
        reason: FinishReason = "stop" if self._is_ended or self._stops.is_stopped else "length"
        self._job.emit(Chunk(rest, reason, Usage(self._prompt_tokens, self._tokens)))

    def _emit(self, text: str) -> None:
        if text:
            self._job.emit(Chunk(text))
