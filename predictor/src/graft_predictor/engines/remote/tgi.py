"""text-generation-inference 3: its native route, which keeps error types, tells tokens by id and takes the adapter by name.

What must be known of it (router and server sources at v3.3.7):
- it adds special tokens to every text it is given; a template that writes the BOS itself would have it twice. `prove` compares its
  tokens with ours and, where that is the difference, leaves ours out;
- an adapter it does not know is answered by the base model, with status 200, and nothing lists the adapters; `prove` compares answers;
- errors come as an event in a stream of status 200, overload included;
- with a `parameters` object sampling is off unless do_sample says so; a missing seed is drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graft_core.contracts.predictor_config import short_digest
from graft_core.errors import Corrupt
from graft_core.tasks.messages import Message
from graft_predictor.engines.base import EngineFailed, FinishReason, LoadPlan
from graft_predictor.engines.remote.dialect import Ask, Piece, Served
from graft_predictor.engines.remote.upstream import Upstream
from graft_predictor.engines.tokenizer import ChatCodec

__all__ = ["TgiDialect"]

MAX_STOPS: Final = 4
"""Stop texts that it takes by default. The predictor looks for all of them itself; these only spare the server work."""
MIN_EFFECT: Final = 1e-3
"""Difference of log-probabilities below which two answers are the same model's; a trained adapter moves them by much more."""
PROBE_S: Final = 60.0
HEALTH_S: Final = 10.0
"""It generates a token for that, where nobody else asked for one lately."""

_STATUS: Final[Mapping[str, int]] = {
    "overloaded": 429,
    "validation": 422,
    "tool_error": 422,
    "template_error": 422,
    "generation": 424,
    "incomplete_generation": 500,
    "incomplete_generation_stream": 500,
    "healthcheck": 503,
}
_SAMPLES: Final = (
    (Message("user", "Where is my order?"),),
    (Message("system", "Answer in one word."), Message("user", "xin chào, tìm áo khoác\n\n{a: 1}")),
)


class TgiDialect:
    """Its ways."""

    def __init__(self) -> None:
        self._cut = ""
        """What the server puts before every prompt by itself."""

    @property
    def name(self) -> str:
        """As in spec.engine.type."""
        return "tgi"

    @property
    def path(self) -> str:
        """The native route: the OpenAI-shaped ones call every in-stream fault a 422."""
        return "/generate_stream"

    def body(self, ask: Ask) -> Mapping[str, Any]:
        """Return the request's body."""
        sampling = ask.sampling
        parameters: dict[str, Any] = {
            "adapter_id": ask.adapter,
            "details": True,
            "do_sample": sampling.temperature > 0,
            "max_new_tokens": ask.max_new_tokens,
            "return_full_text": False,
            "stop": [*ask.end_texts, *sampling.stop][:MAX_STOPS],
        }
        if sampling.temperature > 0:
            parameters["temperature"] = sampling.temperature
            if sampling.top_p < 1:
                parameters["top_p"] = sampling.top_p
            if sampling.seed is not None:
                parameters["seed"] = sampling.seed % 2**64  # unsigned there
        return {"inputs": ask.text.removeprefix(self._cut), "parameters": parameters}

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Read an event: one token; the last one has the details."""
        try:
            ids = (int(event["token"]["id"]),)
            details = event.get("details")
            if event.get("generated_text") is None:
                return Piece(ids)
            end: FinishReason = "length" if (details or {}).get("finish_reason") == "length" else "stop"
            prompt_tokens = (details or {}).get("input_length")
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise EngineFailed("tgi sent an event without a token") from err
        return Piece(ids, end, prompt_tokens if isinstance(prompt_tokens, int) else None)

    def fault(self, event: Mapping[str, Any]) -> int | None:
        """Return the status of an error event: by its type, since the text may quote anything."""
        if "error" not in event:
            return None
        return _STATUS.get(str(event.get("error_type")), 500)

    async def identify(self, upstream: Upstream, plan: LoadPlan) -> Served:
        """Compare /info with the plan."""
        await upstream.fetch("/health", timeout_s=HEALTH_S)
        info: Any = await upstream.fetch("/info")
        if not isinstance(info, dict) or "model_id" not in info:
            raise Corrupt("/info names no model; the server is not text-generation-inference")
        _check_base(info, plan)
        total = info.get("max_total_tokens")
        most = info.get("max_input_tokens", info.get("max_input_length"))
        if not isinstance(total, int) or not isinstance(most, int):
            raise Corrupt("/info has no max_total_tokens and max_input_tokens; use text-generation-inference 3")
        return Served(total, most)

    async def prove(self, upstream: Upstream, codec: ChatCodec, plan: LoadPlan) -> None:
        """Prove that prompts become the same tokens there, and that the adapter is at work."""
        texts = [codec.render(messages) for messages in (plan.probe, *_samples(codec))]
        self._cut = await _find_cut(upstream, codec, texts)
        server = plan.engine.server
        if server is not None:
            await _check_effect(upstream, [text.removeprefix(self._cut) for text in texts], server.adapter)


def _check_base(info: Mapping[str, Any], plan: LoadPlan) -> None:
    server = plan.engine.server
    served, sha, revision = info.get("model_id"), info.get("model_sha"), plan.base.revision
    if server is None or served != server.model:
        raise Corrupt(
            f"tgi serves {str(served)[:200]!r}, expected {server.model if server else None!r} (engine.server.model):"
            " start it with the base model that the adapter was trained on"
        )
    if sha is not None and sha != revision:
        raise Corrupt(f"tgi serves revision {str(sha)[:80]!r} of {served!r}, the adapter was trained on {revision!r}")
    if sha is None and short_digest(revision) not in server.model:
        raise Corrupt(
            f"tgi does not tell the revision of {served!r}, and that name does not hold {short_digest(revision)!r};"
            " mount the model at a path that does"
        )


def _samples(codec: ChatCodec) -> list[Sequence[Message]]:
    """Conversations that templates treat differently; one that the template refuses is left out."""
    usable: list[Sequence[Message]] = []
    for sample in _SAMPLES:
        try:
            codec.render(sample)
        except Corrupt:  # some templates take no system message
            continue
        usable.append(sample)
    return usable


async def _find_cut(upstream: Upstream, codec: ChatCodec, texts: Sequence[str]) -> str:
    """Return what must be left out before a prompt so that the server's tokens are ours."""
    ours = [codec.encode(text) for text in texts]
    begin = codec.tokens(ours[0][:1])[0]
    for cut in ("", begin):
        if cut and not all(text.startswith(cut) for text in texts):
            continue
        if [await _tokenize(upstream, text.removeprefix(cut)) for text in texts] == ours:
            return cut
    raise Corrupt(
        "tgi makes other tokens of a prompt than training did; its tokenizer is not the adapter's, or it adds special tokens"
        " that the chat template does not have"
    )


async def _tokenize(upstream: Upstream, text: str) -> list[int]:
    found: Any = await upstream.fetch("/tokenize", {"inputs": text})
    try:
        return [int(token["id"]) for token in found]
    except (KeyError, TypeError, ValueError) as err:
        raise Corrupt("/tokenize does not list tokens; use text-generation-inference 3") from err


async def _check_effect(upstream: Upstream, texts: Sequence[str], adapter: str) -> None:
    """Refuse a server that answers with the base model when it is asked for the adapter.

    Answers are compared by their log-probabilities; two of the base model tell how much they differ for no reason.
    """
    base = [await _trace(upstream, text, None) for text in texts]
    again = [await _trace(upstream, text, None) for text in texts]
    tuned = [await _trace(upstream, text, adapter) for text in texts]
    noise = max(map(_distance, base, again))
    effect = max(map(_distance, base, tuned))
    if effect <= max(MIN_EFFECT, 4 * noise):
        raise Corrupt(
            f"tgi answers alike with adapter {adapter!r} and without (log-probabilities differ by {effect:.2g}):"
            " it does not have that adapter, and would answer with the base model; see LORA_ADAPTERS"
        )


_Trace = Sequence[tuple[int, float]]


async def _trace(upstream: Upstream, text: str, adapter: str | None) -> _Trace:
    """Return the first tokens of an answer with their log-probabilities."""
    parameters: dict[str, Any] = {"details": True, "do_sample": False, "max_new_tokens": 4, "return_full_text": False}
    if adapter is not None:
        parameters["adapter_id"] = adapter
    found: Any = await upstream.fetch("/generate", {"inputs": text, "parameters": parameters}, timeout_s=PROBE_S)
    try:
        return [(int(token["id"]), float(token["logprob"])) for token in found["details"]["tokens"]]
    except (KeyError, TypeError, ValueError) as err:
        raise Corrupt("/generate tells no tokens; use text-generation-inference 3") from err


def _distance(one: _Trace, other: _Trace) -> float:
    """Largest difference of log-probabilities as far as the tokens are the same; 1 where they are not."""
    largest = 0.0
    for (id_a, log_a), (id_b, log_b) in zip(one, other, strict=False):
        if id_a != id_b:
            return max(largest, 1.0)
        largest = max(largest, abs(log_a - log_b))
    return largest
