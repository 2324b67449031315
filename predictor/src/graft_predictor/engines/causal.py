"""Text generation with a causal language model: one request at a time, streamed token by token."""

import secrets
from collections.abc import Sequence
from typing import Any

from graft_core.tasks.messages import Message
from graft_predictor.engines.base import Chunk, ContextLengthExceeded, EngineTraits, LoadPlan, Usage
from graft_predictor.engines.decoding import AnswerText, answer_limit
from graft_predictor.engines.in_process import InProcessEngine
from graft_predictor.engines.tokenizer import ChatCodec
from graft_predictor.engines.worker import Job

__all__ = ["CausalEngine"]


class CausalEngine(InProcessEngine):
    """transformers' `generate` in this process."""

    def __init__(self, plan: LoadPlan) -> None:
        super().__init__(plan, max_batch=1)
        self._codec = ChatCodec(None)
        self._end_ids: frozenset[int] = frozenset()

    @property
    def traits(self) -> EngineTraits:
        """Its row of the table."""
        return EngineTraits(
            name="transformers", streams=self._args.num_beams == 1, structured="none", adapters="static"
        )

    @property
    def chat_template(self) -> str | None:
        """The tokenizer's, or the fallback."""
        return self._codec.chat_template

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt, the generation prompt included."""
        return len(self._codec.encode(self._codec.render(messages)))

    def _prepare(self) -> None:
        from transformers import GenerationConfig

        self._codec = ChatCodec(self._tokenizer)
        configured = self._model.generation_config.eos_token_id
        # The base's own settings (penalties, bans, lengths) are not what the gates measured; no engine answers with them.
        self._model.generation_config = GenerationConfig()
        self._end_ids = self._codec.end_ids(
            self._plan.adapter_dir, configured if isinstance(configured, list) else [configured]
        )

    def _handle(self, batch: Sequence[Job]) -> None:
        for job in batch:
            try:
                self._answer(job)
            except ContextLengthExceeded as err:
                job.fail(err)

    def _answer(self, job: Job) -> None:
        import torch

        sampling = job.request.sampling
        prompt = self._codec.encode(self._codec.render(job.request.messages))
        limit = answer_limit(
            len(prompt),
            asked=sampling.max_tokens,
            default=self._args.max_new_tokens,
            context_length=self._context_length,
        )
        run = _Run(job, AnswerText(self._codec.decode, sampling.stop, self._end_ids), len(prompt))
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


class _Run:
    """One answer in the making; plays transformers' streamer and stopping criterion."""

    def __init__(self, job: Job, answer: AnswerText, prompt_tokens: int) -> None:
        self._job = job
        self._answer = answer
        self._prompt_tokens = prompt_tokens
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
            if text := self._answer.push(token):
                self._job.emit(Chunk(text))

    def should_stop(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ANN401  # tensors
        """Stop when nobody reads any more, or a stop text came; (batch,) booleans."""
        import torch

        is_over = self._job.cancelled.is_set() or self._answer.is_over
        return torch.full((input_ids.shape[0],), is_over, device=input_ids.device, dtype=torch.bool)

    def finish(self) -> None:
        """Give out the rest and the end."""
        usage = Usage(self._prompt_tokens, self._answer.tokens)
        self._job.emit(Chunk(self._answer.flush(), "stop" if self._answer.is_over else "length", usage))
