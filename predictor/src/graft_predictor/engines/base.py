"""The engine protocol: messages in, chunks of text out.

Engines differ in a few ways that the pipeline must know; they stand in one table, `EngineTraits`, a row for each engine. An engine
translates its own faults into the errors below; nobody above it reads a foreign status code or message.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from graft_core.contracts.adapter_manifest import BaseModelPin
from graft_core.contracts.predictor_config import EngineConfig
from graft_core.errors import InvalidInput, NotReady, Unavailable
from graft_core.tasks.messages import Message

__all__ = [
    "GREEDY",
    "AnswerTruncated",
    "Chunk",
    "ContextLengthExceeded",
    "Engine",
    "EngineBusy",
    "EngineFailed",
    "EngineTimeout",
    "EngineTraits",
    "FinishReason",
    "GenerateRequest",
    "LoadPlan",
    "ModelClass",
    "Sampling",
    "Usage",
    "collect",
]

FinishReason = Literal["stop", "length"]
"""stop: the model ended its answer, or a stop text came; length: max_tokens came first, so the answer is cut off."""
ModelClass = Literal["causal-lm", "sequence-classification"]


class ContextLengthExceeded(InvalidInput):
    """Prompt and answer together do not fit the model."""

    reason = "ContextLengthExceeded"


class EngineFailed(Unavailable):
    """The engine broke while it worked on a request; another request may succeed."""

    reason = "EngineFailed"

    def __init__(self, message: str, *, usage: "Usage | None" = None) -> None:
        super().__init__(message)
        self.usage = usage
        """Tokens that were read and made before it broke; None: none were."""


class EngineTimeout(EngineFailed):
    """The engine took too long to begin an answer, or to go on with it."""

    reason = "EngineTimeout"


class AnswerTruncated(EngineFailed):
    """An answer had begun, and broke off before its end: what was sent of it is not an answer."""

    reason = "AnswerTruncated"


class EngineBusy(NotReady):
    """The engine takes no more requests for now; nothing of the answer was made."""

    reason = "EngineBusy"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. The default is greedy: it is what the evaluation's gates have measured."""

    max_tokens: int | None = None
    """Most tokens of the answer; None: the engine's default, or what the context leaves."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus; only with a temperature over 0."""
    seed: int | None = None
    """Only with a temperature over 0; None: drawn for each request."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""


GREEDY: Final = Sampling()
"""The default."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One answer to make."""

    messages: tuple[Message, ...]
    """As graft_core.tasks.template.render_request returns them."""
    sampling: Sampling = GREEDY


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model counts them."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer; the last one carries finish_reason and usage."""

    text: str
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    scores: Mapping[str, float] | None = None
    """Probability of each label; only classifiers."""


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """A row of the table of differences between engines."""

    name: str
    """As in spec.engine.type; part of span attributes."""
    streams: bool
    """Chunks come as they are made; else the answer comes as one."""
    structured: Literal["none", "json-schema"]
    """Whether decoding can be held to a JSON schema; where it can't, the output guard alone checks."""
    adapters: Literal["static", "dynamic", "none"]
    """static: the one loaded at start."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What an engine loads, or expects of its server; what is in it has been verified."""

    engine: EngineConfig
    """Type, and what belongs to it."""
    base: BaseModelPin
    """The base model that the adapter was trained on."""
    base_dir: Path | None
    """Its folder; None where a server has it."""
    adapter_dir: Path
    """Folder of the adapter, tokenizer included."""
    model_class: ModelClass
    max_length: int
    """Tokens the adapter was trained for."""
    labels: tuple[str, ...] = ()
    """In the order of the classifier's outputs."""
    probe: tuple[Message, ...] = (Message("user", "warm up"),)
    """A prompt of the task's kind, for trying the engine out."""
    max_concurrency: int = 64
    """Requests at a time, at most."""


class Engine(Protocol):
    """What the pipeline asks of an engine. `load` and `stop` block; the rest belongs to the event loop."""

    @property
    def traits(self) -> EngineTraits:
        """Its row of the table."""
        ...

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        ...

    @property
    def chat_template(self) -> str | None:
        """The chat template in use; None for encoders."""
        ...

    def load(self) -> None:
        """Load the model; call from any thread, and again only after Unavailable.

        Raises InvalidInput where an argument does not fit this machine, Corrupt where base and adapter do not fit each other or a
        server serves something else, Unavailable where a server does not answer yet.
        """
        ...

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt, the generation prompt included."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        """Answer; closing the generator stops the work.

        Raises ContextLengthExceeded where prompt and max_tokens do not fit, EngineBusy where the engine is full, EngineFailed (or a kind
        of it) where it broke.
        """
        ...

    def is_healthy(self) -> bool:
        """True while requests can be answered."""
        ...

    def stop(self) -> None:
        """Stop working; requests in flight fail."""
        ...


async def collect(chunks: AsyncGenerator[Chunk]) -> tuple[str, Chunk]:
    """Read an answer to its end; return its text, and the last chunk for reason, usage and scores."""
    text: list[str] = []
    last = Chunk("")
    async with aclosing(chunks):
        async for chunk in chunks:
            text.append(chunk.text)
            last = chunk
    return "".join(text), last
