"""The engine protocol: messages in, chunks of text out.

Engines differ in a few ways that the pipeline must know; they stand in one table, `EngineTraits`, a row for each engine. An engine
translates its own faults into the errors below; nobody above it reads a foreign status code or message.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from graft_core.errors import InvalidInput, Unavailable
from graft_core.tasks.messages import Message

__all__ = [
    "GREEDY",
    "Chunk",
    "ContextLengthExceeded",
    "Engine",
    "EngineFailed",
    "EngineTraits",
    "FinishReason",
    "GenerateRequest",
    "LoadPlan",
    "ModelClass",
    "Sampling",
    "Usage",
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
    """What an engine loads; everything in it has been verified."""

    base_dir: Path
    """Folder of the base model."""
    adapter_dir: Path
    """Folder of the adapter, tokenizer included."""
    model_class: ModelClass
    max_length: int
    """Tokens the adapter was trained for."""
    labels: tuple[str, ...] = ()
    """In the order of the classifier's outputs."""
    gpus: int = 0
    threads: int | None = None
    """CPU threads; None: all."""
    args: tuple[str, ...] = field(default=())
    """spec.engine.args."""


class Engine(Protocol):
    """What the pipeline asks of an engine. `load` blocks; the rest belongs to the event loop."""

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
        """Load the model; call once, from any thread.

        Raises InvalidInput where an argument does not fit this machine, Corrupt where base and adapter do not fit each other.
        """
        ...

    def count_tokens(self, messages: tuple[Message, ...]) -> int:
        """Tokens of the prompt, the generation prompt included."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
        """Answer; closing the generator stops the work.

        Raises ContextLengthExceeded where prompt and max_tokens do not fit, EngineFailed where the engine broke.
        """
        ...

    def is_healthy(self) -> bool:
        """True while requests can be answered."""
        ...

    def stop(self) -> None:
        """Stop working; requests in flight fail."""
        ...
