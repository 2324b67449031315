"""vLLM: its completion route with token ids in and out (0.10.2 and later).

What must be known of it (sources of 0.33):
- sampling parameters that a request leaves out come from the model's generation_config.json; all of them are sent;
- a model name it does not know is 404, and /v1/models lists each adapter with its base, so the list is the proof;
- errors come as an event in a stream of status 200; `[DONE]` follows all the same.
"""

from collections.abc import Mapping
from typing import Any

from graft_core.contracts.predictor_config import short_digest
from graft_core.errors import Corrupt
from graft_predictor.engines.base import EngineFailed, LoadPlan
from graft_predictor.engines.remote.dialect import Ask, Piece, Served
from graft_predictor.engines.remote.upstream import Upstream
from graft_predictor.engines.tokenizer import ChatCodec

__all__ = ["VllmDialect"]


class VllmDialect:
    """Its ways."""

    @property
    def name(self) -> str:
        """As in spec.engine.type."""
        return "vllm"

    @property
    def path(self) -> str:
        """Completion and not chat: the prompt is rendered here."""
        return "/v1/completions"

    def body(self, ask: Ask) -> Mapping[str, Any]:
        """Return the request's body."""
        sampling = ask.sampling
        body: dict[str, Any] = {
            "model": ask.adapter,
            "prompt": list(ask.ids),
            "add_special_tokens": False,
            "frequency_penalty": 0.0,
            "max_tokens": ask.max_new_tokens,
            "min_p": 0.0,
            "presence_penalty": 0.0,
            "repetition_penalty": 1.0,
            "return_token_ids": True,
            "stop": list(sampling.stop),
            "stop_token_ids": sorted(ask.end_ids),
            "stream": True,
            "temperature": sampling.temperature,
            "top_k": 0,
            "top_p": sampling.top_p if sampling.temperature > 0 else 1.0,
        }
        if sampling.temperature > 0 and sampling.seed is not None:
            body["seed"] = sampling.seed
        return body

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Read an event: the tokens since the last one."""
        try:
            choices = event["choices"]
            if not choices:  # usage alone
                return Piece()
            choice = choices[0]
            reason = choice.get("finish_reason")
            ids = choice["token_ids"]
            piece = Piece(
                tuple(int(token) for token in ids or ()),
                None if reason is None else "length" if reason == "length" else "stop",
            )
        except KeyError as err:
            raise EngineFailed(
                f"vllm sent an event without {err.args[0]}; version 0.10.2 or later is needed, which tells token ids"
            ) from err
        except (TypeError, ValueError, AttributeError) as err:
            raise EngineFailed("vllm sent an event of another shape") from err
        if reason not in {None, "length", "stop"}:  # abort, error
            raise EngineFailed("vllm gave the answer up")
        return piece

    def fault(self, event: Mapping[str, Any]) -> int | None:
        """Return the status of an error event; older versions put its fields at the top."""
        error = event.get("error", event if event.get("object") == "error" else None)
        if error is None:
            return None
        code = error.get("code") if isinstance(error, dict) else None
        return code if isinstance(code, int) and 400 <= code <= 599 else 500

    async def identify(self, upstream: Upstream, plan: LoadPlan) -> Served:
        """Compare /v1/models with the plan."""
        await upstream.fetch("/health")
        listed: Any = await upstream.fetch("/v1/models")
        try:
            cards: dict[str, Mapping[str, Any]] = {str(card["id"]): card for card in listed["data"]}
        except (KeyError, TypeError) as err:
            raise Corrupt("/v1/models lists no models; the server is not vllm") from err
        return _check_models(cards, plan)

    async def prove(self, upstream: Upstream, codec: ChatCodec, plan: LoadPlan) -> None:
        """Do nothing: the list of models was the proof, and tokens are sent as they are."""


def _check_models(cards: Mapping[str, Mapping[str, Any]], plan: LoadPlan) -> Served:
    server, revision = plan.engine.server, plan.base.revision
    base = cards.get(server.model) if server else None
    if server is None or base is None:
        raise Corrupt(
            f"vllm serves {sorted(cards)[:8]!r}, expected {server.model if server else None!r} (engine.server.model): start it"
            " with the base model that the adapter was trained on, under that --served-model-name"
        )
    if short_digest(revision) not in server.model:
        raise Corrupt(
            f"engine.server.model {server.model!r} does not hold {short_digest(revision)!r}, and vllm does not tell the"
            " revision itself; name the served model by it"
        )
    adapter = cards.get(server.adapter)
    if adapter is None:
        raise Corrupt(f"vllm serves {sorted(cards)[:8]!r}, but not the adapter {server.adapter!r}; see --lora-modules")
    if adapter.get("parent") != server.model:
        raise Corrupt(
            f"vllm has {server.adapter!r} on the base {str(adapter.get('parent'))[:200]!r}, expected {server.model!r}"
        )
    length = base.get("max_model_len")
    if not isinstance(length, int):
        raise Corrupt("/v1/models has no max_model_len; the server is not vllm")
    return Served(length, length - 1)
