"""What differs between servers, as one protocol: routes, bodies, events, errors, and how each proves what it serves.

Both are sent what this predictor rendered and give tokens back, so that prompt, end of the answer and text follow from the adapter's
own tokenizer, as in training; a server's chat template, its text and its counts are not used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from graft_predictor.engines.base import FinishReason, LoadPlan, Sampling
from graft_predictor.engines.remote.upstream import Upstream
from graft_predictor.engines.tokenizer import ChatCodec

__all__ = ["Ask", "Dialect", "Piece", "Served"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One answer to ask for."""

    text: str
    """The rendered prompt."""
    ids: tuple[int, ...]
    """The same as tokens."""
    max_new_tokens: int
    sampling: Sampling
    end_ids: frozenset[int]
    end_texts: tuple[str, ...]
    """The same as the vocabulary writes them."""
    adapter: str


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event brings."""

    ids: tuple[int, ...] = ()
    end: FinishReason | None = None
    """Set on the event that ends the answer."""
    prompt_tokens: int | None = None
    """As the server counted them, where it says so."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a server says of itself; it has been compared with the plan."""

    context_length: int
    max_prompt_tokens: int


class Dialect(Protocol):
    """One kind of server."""

    @property
    def name(self) -> str:
        """As in spec.engine.type."""
        ...

    @property
    def path(self) -> str:
        """The route that streams an answer."""
        ...

    def body(self, ask: Ask) -> Mapping[str, Any]:
        """Return the request's body; every parameter that has a default of the server's own is in it."""
        ...

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Read an event; raises EngineFailed where it has another shape than expected."""
        ...

    def fault(self, event: Mapping[str, Any]) -> int | None:
        """Return the HTTP status that an error event stands for, or None for any other event."""
        ...

    async def identify(self, upstream: Upstream, plan: LoadPlan) -> Served:
        """Compare what is served with the plan; called at start, and again after the server was away.

        Raises Unavailable where it does not answer yet, Corrupt where it serves something else.
        """
        ...

    async def prove(self, upstream: Upstream, codec: ChatCodec, plan: LoadPlan) -> None:
        """Prove once what the server does not tell of itself; raises as identify does."""
        ...
