"""An engine that is a server beside this process: prompts out, tokens in, and a watch on the server between requests."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from graft_core.contracts.predictor_config import EngineServer
from graft_core.errors import Corrupt, GraftError, InvalidInput
from graft_core.tasks.messages import Message
from graft_core.telemetry.logs import get_log
from graft_predictor.engines.base import (
    AnswerTruncated,
    Chunk,
    ContextLengthExceeded,
    EngineBusy,
    EngineFailed,
    EngineTimeout,
    EngineTraits,
    GenerateRequest,
    LoadPlan,
    Usage,
)
from graft_predictor.engines.decoding import AnswerText, answer_limit
from graft_predictor.engines.remote.dialect import Ask, Dialect, Piece, Served
from graft_predictor.engines.remote.upstream import Reading, Timeouts, Upstream
from graft_predictor.engines.tokenizer import ChatCodec, load_tokenizer

__all__ = ["RemoteEngine"]

SPARE_CONNECTIONS: Final = 4
"""Beside one for each request: the watch, and closed ones that linger."""
WATCH_EVERY_S: Final = 5.0
MAX_MISSES: Final = 3
"""Watches in a row without a reply after which the server counts as gone; one that is busy may miss one."""
INLINE_CHARS: Final = 16_384
"""Shorter prompts are tokenized at once (about a millisecond); longer ones in a thread, so that other streams go on."""

_log = get_log(__name__)


class RemoteEngine:
    """TGI or vLLM, by its dialect. Only the adapter of the configuration is ever asked for."""

    def __init__(
        self,
        plan: LoadPlan,
        dialect: Dialect,
        *,
        timeouts: Timeouts | None = None,
        watch_every_s: float = WATCH_EVERY_S,
    ) -> None:
        """Connect to nothing yet.

        Args:
            plan: With engine.server.
            dialect: The server's kind.
            timeouts: Other than the configuration's.
            watch_every_s: Pause between two looks at the server.

        Raises:
            InvalidInput: A classifier, which these servers do not run.
        """
        if plan.model_class != "causal-lm" or plan.engine.server is None:
            raise InvalidInput(
                f"engine.type: {plan.engine.type!r} generates text, the adapter is a {plan.model_class}; use 'transformers'",
                path="engine.type",
            )
        self._plan = plan
        self._server: EngineServer = plan.engine.server
        self._dialect = dialect
        self._timeouts = timeouts or _timeouts(self._server)
        self._watch_every_s = watch_every_s
        self._reading: Reading[Piece] = Reading(dialect.read, dialect.fault, lambda piece: piece.end is not None)
        self._codec: ChatCodec | None = None
        self._end_ids: frozenset[int] = frozenset()
        self._end_texts: tuple[str, ...] = ()
        self._served = Served(plan.max_length, plan.max_length)
        self._upstream: Upstream | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_up = False
        self._is_stopped = False
        self._has_miscounted = False

    @property
    def traits(self) -> EngineTraits:
        """Its row of the table."""
        return EngineTraits(name=self._dialect.name, streams=True, structured="none", adapters="static")

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together, as the server says."""
        return self._served.context_length

    @property
    def chat_template(self) -> str | None:
        """The adapter's, or the fallback; the server's own is not used."""
        return self._tokens().chat_template

    def load(self) -> None:
        """Load the tokenizer, and have the server prove what it serves; raises Unavailable while it does not answer."""
        if self._codec is None:
            self._codec = ChatCodec(load_tokenizer(self._plan))
            self._end_ids = self._codec.end_ids(self._plan.adapter_dir)
            self._end_texts = tuple(self._codec.tokens(sorted(self._end_ids)))
        self._served = asyncio.run(self._probe(self._codec))
        self._is_up = True

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt, the generation prompt included."""
        codec = self._tokens()
        return len(codec.encode(codec.render(messages)))

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        """Answer; closing the generator closes the server's stream, which ends its work."""
        ask = await self._ask(request)
        answer = AnswerText(self._tokens().decode, request.sampling.stop, self._end_ids)
        prompt_tokens = len(ask.ids)
        try:
            async with aclosing(
                self._open().stream(self._dialect.path, self._dialect.body(ask), self._reading)
            ) as pieces:
                async for piece in pieces:
                    text = "".join(map(answer.push, piece.ids))
                    if piece.end is None and not answer.is_over:
                        if text:
                            yield Chunk(text)
                        continue
                    self._compare_counts(prompt_tokens, piece)
                    reason = "stop" if answer.is_over or piece.end is None else piece.end
                    yield Chunk(text + answer.flush(), reason, Usage(prompt_tokens, answer.tokens))
                    if piece.end is None:
                        return  # a stop text that the server does not know of: leaving ends its work
        except EngineTimeout as err:
            err.usage = Usage(prompt_tokens, answer.tokens)
            raise
        except (EngineFailed, EngineBusy) as err:
            if not answer.tokens:
                raise
            raise AnswerTruncated(
                f"the answer broke off after {answer.tokens} tokens: {err}", usage=Usage(prompt_tokens, answer.tokens)
            ) from err

    def is_healthy(self) -> bool:
        """True while the server answers, as far as is known."""
        return self._is_up and not self._is_stopped

    def stop(self) -> None:
        """Close all connections; streams that are open fail."""
        self._is_stopped = True
        loop = self._loop
        if loop is None or not loop.is_running():
            return
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is loop:
                self._watching = loop.create_task(self._close(self._watching))
                return
        asyncio.run_coroutine_threadsafe(self._close(self._watching), loop).result(5)

    def _tokens(self) -> ChatCodec:
        if self._codec is None:
            raise EngineFailed("the engine is not loaded")
        return self._codec

    async def _ask(self, request: GenerateRequest) -> Ask:
        codec = self._tokens()

        def encode() -> tuple[str, list[int]]:
            text = codec.render(request.messages)
            return text, codec.encode(text)

        is_long = sum(len(message.content) for message in request.messages) > INLINE_CHARS
        text, ids = await asyncio.to_thread(encode) if is_long else encode()
        if len(ids) > self._served.max_prompt_tokens:
            raise ContextLengthExceeded(
                f"messages: the prompt has {len(ids)} tokens, the engine reads at most {self._served.max_prompt_tokens};"
                " shorten it",
                path="messages",
            )
        limit = answer_limit(
            len(ids),
            asked=request.sampling.max_tokens,
            default=self._server.max_new_tokens,
            context_length=self._served.context_length,
        )
        return Ask(text, tuple(ids), limit, request.sampling, self._end_ids, self._end_texts, self._server.adapter)

    def _compare_counts(self, ours: int, piece: Piece) -> None:
        """Say it, once, where the server read other tokens than were meant: the gates did not measure such answers."""
        if piece.prompt_tokens in {None, ours} or self._has_miscounted:
            return
        self._has_miscounted = True
        _log.warning("prompt_tokens_differ", engine=self._dialect.name, ours=ours, theirs=piece.prompt_tokens)

    async def _probe(self, codec: ChatCodec) -> Served:
        async with self._connect() as upstream:
            served = await self._dialect.identify(upstream, self._plan)
            await self._dialect.prove(upstream, codec, self._plan)
            return served

    def _connect(self) -> Upstream:
        limit = self._plan.max_concurrency + SPARE_CONNECTIONS
        return Upstream(self._server.url, self._dialect.name, self._timeouts, limit)

    def _open(self) -> Upstream:
        """Return the connections of this event loop; the first request makes them."""
        if self._is_stopped:
            raise EngineFailed("the engine has stopped")
        if self._upstream is None:
            self._loop = asyncio.get_running_loop()
            self._upstream = self._connect()
            self._watching = self._loop.create_task(self._watch(self._upstream))
        return self._upstream

    async def _watch(self, upstream: Upstream) -> None:
        """Look at the server again and again: it may die, and come back; what comes back must be the same."""
        misses = 0
        while True:
            await asyncio.sleep(self._watch_every_s)
            try:
                await self._dialect.identify(upstream, self._plan)
            except GraftError as err:
                misses = MAX_MISSES if isinstance(err, Corrupt) else misses + 1
                if misses >= MAX_MISSES and self._is_up:
                    self._is_up = False
                    _log.warning("engine_lost", engine=self._dialect.name, message=str(err))
                continue
            misses = 0
            if not self._is_up:
                self._is_up = True
                _log.info("engine_back", engine=self._dialect.name)

    async def _close(self, watching: asyncio.Task[None] | None) -> None:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if self._upstream is not None:
            await self._upstream.close()


def _timeouts(server: EngineServer) -> Timeouts:
    return Timeouts(server.connect_seconds, server.first_token_seconds, server.inter_token_seconds)
