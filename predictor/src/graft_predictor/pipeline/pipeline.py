"""The order in which a request is worked on; the numbers are those of docs/develop.

 1 admit          more than maxConcurrency at a time: Overloaded
 2 size           a prompt that can't fit whatever its tokens are
 3 task prompt    the renderer that training used
 4 input guards   on the rendered prompt
 5 memory tier    ┐ guards run on what is found, too
 6 exact tier     ┘
 7 single flight  equal requests at one time share what follows
 8 engine
 9 output guards  one repair, then block; where there are any, a stream begins when the answer is whole
10 keep           complete answers that passed, nothing else
11 tell           metrics and request log, whatever happened
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal

from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.clock import Clock
from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.errors import InvalidInput
from graft_core.tasks.messages import Message
from graft_core.tasks.template import render_request
from graft_core.telemetry.tracing import get_tracer
from graft_predictor.caching.base import CachedAnswer, Tier
from graft_predictor.caching.keys import answer_key
from graft_predictor.caching.singleflight import SingleFlight
from graft_predictor.engines.base import Chunk, ContextLengthExceeded, Engine, EngineFailed, GenerateRequest, collect
from graft_predictor.guards.base import GuardrailBlocked, GuardVerdict
from graft_predictor.guards.input_rules import InputGuards
from graft_predictor.guards.output_rules import OutputGuards
from graft_predictor.pipeline.errors import DeadlineExceeded, Overloaded
from graft_predictor.pipeline.exchange import Call, Exchange

__all__ = ["Caches", "Pipeline"]

MAX_CHARS_A_TOKEN: Final = 64
"""A prompt with more characters than this for each token of the context is refused unread: tokenizing a million characters takes seconds."""
_REPAIR: Final = "The answer above is not valid: {faults}. Write the corrected JSON, and nothing else."

_tracer = get_tracer(__name__)


@dataclass(frozen=True, slots=True)
class Caches:
    """The tiers that are on."""

    identity: str
    """See caching.keys.fingerprint."""
    memory: Tier | None = None
    exact: Tier | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """What travels in a flight: a chunk, and with the first one what the guards said."""

    chunk: Chunk
    verdicts: Sequence[GuardVerdict] = ()


class Pipeline:
    """One release's way from messages to an answer."""

    def __init__(self, config: PredictorConfig, task: TaskSpec, engine: Engine, caches: Caches, clock: Clock) -> None:
        """Wire the stages; raises InvalidInput for a guardrail that does not fit the task, or that this version does not have.

        Args:
            config: Limits, cache policy, guardrails.
            task: From the adapter's manifest.
            engine: Loaded.
            caches: Tiers and fingerprint.
            clock: For deadlines and latencies.
        """
        self._config = config
        self._task = task
        self._engine = engine
        self._caches = caches
        self._clock = clock
        self._input = InputGuards(config.guardrails)
        self._output = OutputGuards(config.guardrails, task)
        self._flights: SingleFlight[_Piece] = SingleFlight()
        self._max_temperature = float(Decimal(config.cache.cacheable.max_temperature))
        self._in_flight = 0

    @property
    def task(self) -> TaskSpec:
        """The task contract."""
        return self._task

    @property
    def engine(self) -> Engine:
        """The engine."""
        return self._engine

    async def run(self, call: Call, exchange: Exchange) -> AsyncGenerator[Chunk]:
        """Answer a request.

        Raises InvalidInput where the request does not fit task or context, GuardrailBlocked where a rule refuses prompt or answer,
        EngineBusy where the engine is full, and DeadlineExceeded where it took too long.

        Args:
            call: What is asked.
            exchange: Filled in on the way. Cache, verdicts and the rest are known when the first chunk is there.

        Yields:
            The answer; the last chunk carries finish_reason and usage. Closing the generator gives the request up.

        Raises:
            Overloaded: Too many requests at a time.
            EngineFailed: The engine broke, or its answer broke off.
        """
        if self._in_flight >= self._config.max_concurrency:
            raise Overloaded(
                f"{self._in_flight} requests are being answered, which is as many as predictor.maxConcurrency allows; try again later",
                retry_after_s=1.0,
            )
        self._in_flight += 1
        deadline = exchange.started + self._config.timeout_seconds
        try:
            async with aclosing(self._answer(call, exchange)) as chunks:
                while True:
                    chunk = await self._next(chunks, deadline)
                    if chunk is None:
                        return
                    self._note(exchange, chunk)
                    yield chunk
        except EngineFailed as err:
            exchange.usage = err.usage  # an answer that broke off has cost its tokens all the same
            raise
        finally:
            self._in_flight -= 1

    async def _next(self, chunks: AsyncGenerator[Chunk], deadline: float) -> Chunk | None:
        left = deadline - self._clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                return await anext(chunks, None)
        except TimeoutError as err:
            raise DeadlineExceeded(
                f"no answer within {self._config.timeout_seconds} seconds (predictor.timeoutSeconds)"
            ) from err

    def _note(self, exchange: Exchange, chunk: Chunk) -> None:
        if exchange.first_token_at is None:
            exchange.first_token_at = self._clock.monotonic()
        exchange.answer += chunk.text
        if chunk.finish_reason is not None:
            exchange.finish_reason, exchange.usage = chunk.finish_reason, chunk.usage

    async def _answer(self, call: Call, exchange: Exchange) -> AsyncGenerator[Chunk]:
        request = self._render(call)
        exchange.prompt = request.messages
        exchange.verdicts = list(await self._guard_input(request))
        key = self._key(call, request, exchange)
        if key is not None and (hit := await self._look_up(key, exchange)) is not None:
            yield hit
            return
        async for piece in self._fly(key, request):
            exchange.verdicts.extend(piece.verdicts)
            yield piece.chunk

    def _render(self, call: Call) -> GenerateRequest:
        chars = sum(len(message.content) for message in call.messages)
        limit = self._engine.context_length * MAX_CHARS_A_TOKEN
        if chars > limit:
            raise ContextLengthExceeded(
                f"messages: the prompt has {chars} characters, a context of {self._engine.context_length} tokens"
                f" cannot hold over {limit}; shorten it",
                path="messages",
            )
        with _tracer.start_as_current_span("graft.render"):
            messages = render_request(self._task, call.messages, call.fields)
        if not any(_is_visible(message.content) for message in messages if message.role != "system"):
            raise InvalidInput("messages: the prompt has no visible character; write something", path="messages")
        return GenerateRequest(messages, call.sampling)

    async def _guard_input(self, request: GenerateRequest) -> Sequence[GuardVerdict]:
        if not self._config.guardrails.input:
            return ()
        with _tracer.start_as_current_span("graft.guard.input"):
            # In a thread: a long prompt takes a while to count, and other streams go on meanwhile.
            return await asyncio.to_thread(self._input.check, lambda: self._engine.count_tokens(request.messages))

    def _key(self, call: Call, request: GenerateRequest, exchange: Exchange) -> bytes | None:
        """Return the key, or None where the answer is neither looked up nor kept."""
        has_tier = self._caches.memory is not None or self._caches.exact is not None
        if not has_tier or not call.may_cache or call.sampling.temperature > self._max_temperature:
            exchange.cache = "bypass"
            return None
        exchange.cache = "miss"
        return answer_key(self._caches.identity, exchange.tenant, request)

    async def _look_up(self, key: bytes, exchange: Exchange) -> Chunk | None:
        with _tracer.start_as_current_span("graft.cache") as span:
            found: tuple[CachedAnswer, Literal["memory", "exact"]] | None = None
            memory, exact = self._caches.memory, self._caches.exact
            if memory is not None and (answer := await memory.get(key)) is not None:
                found = answer, "memory"
            elif exact is not None and (answer := await exact.get(key)) is not None:
                found = answer, "exact"
                if memory is not None:
                    await memory.put(key, answer)
            span.set_attribute("graft.cache.result", found[1] if found else "miss")
        if found is None:
            return None
        answer, tier = found
        try:
            _, verdicts = await self._output.check(answer.text, _no_repair)
        except GuardrailBlocked:
            return None  # the entry is of no use; the engine answers anew
        exchange.cache = tier
        exchange.verdicts.extend(verdicts)
        return Chunk(answer.text, "stop", answer.usage, answer.scores)

    async def _fly(self, key: bytes | None, request: GenerateRequest) -> AsyncGenerator[_Piece]:
        """Read along in the flight of this key; one that was started by somebody else and fails is tried again, once, by ourselves."""
        for attempt in (0, 1):
            flight, is_own = self._flights.join(key, lambda: self._produce(key, request))
            has_begun = False
            try:
                async with aclosing(flight.read()) as pieces:
                    async for piece in pieces:
                        has_begun = True
                        yield piece
            except EngineFailed:
                if is_own or has_begun or attempt:
                    raise
            else:
                return

    async def _produce(self, key: bytes | None, request: GenerateRequest) -> AsyncGenerator[_Piece]:
        """Make the answer: engine, output guards, keep."""
        text: list[str] = []
        last: Chunk | None = None
        if self._output.needs_whole_answer:
            last, verdicts = await self._guarded(request)
            text.append(last.text)
            yield _Piece(last, verdicts)
        else:
            async with aclosing(self._generate(request)) as chunks:
                async for chunk in chunks:
                    text.append(chunk.text)
                    last = chunk
                    yield _Piece(chunk)
        if last is None or last.finish_reason is None:
            raise EngineFailed("the engine's answer broke off")
        if key is not None and last.finish_reason == "stop" and last.usage is not None:
            await self._keep(key, CachedAnswer("".join(text), last.usage, last.scores))

    async def _generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        """Run the engine in a span of its own; attribute names after OpenTelemetry's GenAI conventions."""
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": self._engine.traits.name,
            "gen_ai.request.model": f"{self._config.release.name}@{self._config.revision}",
        }
        # Not made current: a generator's context would leak to whoever reads it.
        span = _tracer.start_span(f"chat {self._config.release.name}@{self._config.revision}", attributes=attributes)
        try:
            async with aclosing(self._engine.generate(request)) as chunks:
                async for chunk in chunks:
                    if chunk.usage is not None:
                        span.set_attribute("gen_ai.usage.input_tokens", chunk.usage.prompt_tokens)
                        span.set_attribute("gen_ai.usage.output_tokens", chunk.usage.completion_tokens)
                    yield chunk
        except Exception as err:
            span.set_attribute("error.type", type(err).__name__)
            raise
        finally:
            span.end()

    async def _guarded(self, request: GenerateRequest) -> tuple[Chunk, Sequence[GuardVerdict]]:
        last = await self._whole(request)

        async def repair(answer: str, faults: tuple[str, ...]) -> str:
            nonlocal last
            told = Message("user", _REPAIR.format(faults="; ".join(faults)))
            last = await self._whole(replace(request, messages=(*request.messages, Message("assistant", answer), told)))
            return last.text

        with _tracer.start_as_current_span("graft.guard.output"):
            answer, verdicts = await self._output.check(last.text, repair)
        return replace(last, text=answer), verdicts

    async def _whole(self, request: GenerateRequest) -> Chunk:
        text, last = await collect(self._generate(request))
        if last.finish_reason is None:
            raise EngineFailed("the engine's answer broke off")
        return replace(last, text=text)

    async def _keep(self, key: bytes, answer: CachedAnswer) -> None:
        if self._caches.memory is not None:
            await self._caches.memory.put(key, answer)
        if self._caches.exact is not None:
            await self._caches.exact.put(key, answer)


async def _no_repair(answer: str, faults: tuple[str, ...]) -> str:  # noqa: ARG001  # a Repair
    """What was kept has been repaired already."""
    return answer


def _is_visible(text: str) -> bool:
    """True where something is left without white space and characters that nobody sees (zero-width, marks of direction)."""
    return any(char.isprintable() and not char.isspace() for char in text)
