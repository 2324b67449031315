"""Bodies of requests, field by field: every fault names its parameter, and nothing is taken and then ignored.

Parameters of OpenAI's API that this server does not have may be sent with the value that means "off" (clients do); with any other
value, and for names nobody knows, the request is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from graft_core.errors import InvalidInput, NotSupported
from graft_core.tasks.messages import Message, parse_messages
from graft_predictor.engines.base import Sampling
from graft_predictor.pipeline.exchange import Call
from graft_predictor.rest.errors import ModelNotFound

__all__ = ["Feedback", "GenerateCall", "parse_chat", "parse_classify", "parse_completion", "parse_feedback"]

MAX_STOPS: Final = 4
MAX_STOP_CHARS: Final = 256
MAX_INPUTS: Final = 256
"""Texts of one classify request."""

_SAMPLING: Final = frozenset({"max_tokens", "temperature", "top_p", "seed", "stop", "n"})
_SHARED: Final = _SAMPLING | {"model", "stream", "stream_options", "user", "graft"}
_OFF: Final[Mapping[str, tuple[object, ...]]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
}
"""Values that change nothing; null always is one."""


@dataclass(frozen=True, slots=True)
class GenerateCall:
    """A chat or completion request."""

    call: Call
    has_usage_chunk: bool
    """stream_options.include_usage."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """A user's word on an answer."""

    request_id: str
    score: float | None
    correct_output: str | None


def parse_chat(body: Mapping[str, Any], *, model: str, context: int, may_cache: bool) -> GenerateCall:
    """Read a chat request; raises InvalidInput (NotSupported, ModelNotFound) with the parameter in `path`.

    Args:
        body: The JSON object.
        model: Name of what is served here.
        context: Most tokens an answer could have.
        may_cache: False where a header said so.

    Returns:
        What is asked.
    """
    _check_names(body, _SHARED | {"messages", "max_completion_tokens", "response_format"})
    _check_model(body, model)
    _check_response_format(body.get("response_format"))
    return _generate_call(body, parse_messages(body.get("messages")), context, may_cache=may_cache)


def parse_completion(body: Mapping[str, Any], *, model: str, context: int, may_cache: bool) -> GenerateCall:
    """Read a completion request. The prompt is the task's input, so it takes the same way as a chat's user message.

    Args:
        body: The JSON object.
        model: Name of what is served here.
        context: Most tokens an answer could have.
        may_cache: False where a header said so.

    Returns:
        What is asked.

    Raises:
        InvalidInput: With the parameter in `path`.
    """
    _check_names(body, _SHARED | {"prompt"})
    _check_model(body, model)
    prompt: Any = body.get("prompt")
    if isinstance(prompt, list) and len(cast("list[object]", prompt)) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise InvalidInput("prompt: expected a text, or a list with one text", path="prompt")
    messages = parse_messages([{"role": "user", "content": prompt}], path="prompt")
    return _generate_call(body, messages, context, may_cache=may_cache)


def parse_classify(body: Mapping[str, Any], *, model: str, may_cache: bool) -> tuple[list[Call], bool]:
    """Read a classify request.

    Args:
        body: `{"input": text or [text, …]}`.
        model: Name of what is served here.
        may_cache: False where a header said so.

    Returns:
        A call for each text, and whether a list was sent.

    Raises:
        InvalidInput: With the parameter in `path`.
    """
    _check_names(body, frozenset({"model", "input", "user"}))
    _check_model(body, model)
    raw: object = body.get("input")
    inputs: list[object] = cast("list[object]", raw) if isinstance(raw, list) else [raw]
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise InvalidInput(f"input: {len(inputs)} texts, expected 1 to {MAX_INPUTS}", path="input")
    calls: list[Call] = []
    for i, text in enumerate(inputs):
        path = f"input[{i}]" if isinstance(raw, list) else "input"
        if not isinstance(text, str):
            raise InvalidInput(f"{path}: expected a text", path=path)
        calls.append(Call(parse_messages([{"role": "user", "content": text}], path=path), may_cache=may_cache))
    return calls, isinstance(raw, list)


def parse_feedback(body: Mapping[str, Any]) -> Feedback:
    """Read a feedback request.

    Args:
        body: `{"request_id": …, "score": 0..1, "correct_output": …}`; one of the last two may be missing.

    Returns:
        What the user says.

    Raises:
        InvalidInput: With the parameter in `path`.
    """
    _check_names(body, frozenset({"request_id", "score", "correct_output"}), off={})
    request_id, score, output = body.get("request_id"), body.get("score"), body.get("correct_output")
    if not isinstance(request_id, str):
        raise InvalidInput("request_id: expected the x-graft-request-id of an answer", path="request_id")
    if score is None and output is None:
        raise InvalidInput("score: send a score, a correct_output, or both", path="score")
    if output is not None and (not isinstance(output, str) or len(output) > 100_000):
        raise InvalidInput("correct_output: expected a text of at most 100000 characters", path="correct_output")
    return Feedback(request_id, _number(body, "score", 0.0, 1.0), output)


def _generate_call(
    body: Mapping[str, Any], messages: tuple[Message, ...], context: int, *, may_cache: bool
) -> GenerateCall:
    is_stream = _flag(body, "stream")
    options = body.get("stream_options")
    if options is not None:
        if not isinstance(options, dict) or not is_stream:
            raise InvalidInput("stream_options: expected an object, and only with stream: true", path="stream_options")
        _check_names(cast("dict[str, Any]", options), frozenset({"include_usage"}), prefix="stream_options.", off={})
    call = Call(
        messages=messages,
        sampling=_sampling(body, context),
        fields=_fields(body.get("graft")),
        is_stream=is_stream,
        may_cache=may_cache,
    )
    return GenerateCall(call, _flag(cast("dict[str, Any]", options or {}), "include_usage", prefix="stream_options."))


def _sampling(body: Mapping[str, Any], context: int) -> Sampling:
    if (n := _integer(body, "n", 1, 2**31)) not in {None, 1}:
        raise InvalidInput(f"n: {n}, but one answer is given to a request; send n: 1", path="n")
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    top_p = _number(body, "top_p", 0.0, 1.0)
    if top_p == 0:
        raise InvalidInput(
            "top_p: 0 leaves no token to choose from; for greedy answers send temperature: 0", path="top_p"
        )
    return Sampling(
        max_tokens=_integer(body, name, 1, context),
        temperature=_number(body, "temperature", 0.0, 2.0) or 0.0,
        top_p=1.0 if top_p is None else top_p,
        seed=_integer(body, "seed", -(2**63), 2**63 - 1),
        stop=_stops(body.get("stop")),
    )


def _stops(raw: object) -> tuple[str, ...]:
    if raw is None:
        return ()
    items: list[object] = (
        [raw] if isinstance(raw, str) else cast("list[object]", raw) if isinstance(raw, list) else [None]
    )
    if len(items) > MAX_STOPS:
        raise InvalidInput(f"stop: {len(items)} texts, at most {MAX_STOPS} are allowed", path="stop")
    for item in items:
        if not isinstance(item, str) or not 1 <= len(item) <= MAX_STOP_CHARS:
            raise InvalidInput(f"stop: expected texts of 1 to {MAX_STOP_CHARS} characters", path="stop")
    return tuple(cast("list[str]", items))


def _fields(raw: object) -> dict[str, object] | None:
    """Read the extension `graft: {fields: {…}}`: the task's input fields by name."""
    if raw is None:
        return None
    graft = cast("dict[str, object]", raw) if isinstance(raw, dict) else {"": None}
    _check_names(graft, frozenset({"fields"}), prefix="graft.", off={})
    fields = graft.get("fields")
    if fields is not None and not isinstance(fields, dict):
        raise InvalidInput("graft.fields: expected an object with the task's input fields", path="graft.fields")
    return cast("dict[str, object] | None", fields)


def _check_response_format(raw: object) -> None:
    kind = cast("dict[str, object]", raw).get("type") if isinstance(raw, dict) else raw
    if kind is not None and kind != "text":
        raise NotSupported(
            f"response_format: {str(kind)[:40]!r} is not supported; the form of the answer follows from the release's task"
            " and its json-schema guardrail",
            path="response_format",
        )


def _check_names(
    body: Mapping[str, Any], known: frozenset[str], *, prefix: str = "", off: Mapping[str, tuple[object, ...]] = _OFF
) -> None:
    for name, value in body.items():
        if name in known or (name in off and (value is None or _is_off(value, off[name]))):
            continue
        path = f"{prefix}{name[:64]}"
        if name in off:
            raise NotSupported(
                f"{path}: this value is not supported in this version; leave the parameter out", path=path
            )
        raise InvalidInput(f"{path}: unknown parameter; known are {', '.join(sorted(known))}", path=path)


def _is_off(value: object, neutral: tuple[object, ...]) -> bool:
    # Not `in`: 0 == False, and true is not 1 here.
    return any(value == off and isinstance(value, bool) == isinstance(off, bool) for off in neutral)


def _check_model(body: Mapping[str, Any], model: str) -> None:
    """Take a missing name for the one model there is; every other name is refused."""
    named = body.get("model")
    if named is None or named == model:
        return
    shown = repr(named[:120]) if isinstance(named, str) else type(named).__name__
    raise ModelNotFound(f"model: {shown} is not served here; this service is {model!r}", path="model")


def _flag(body: Mapping[str, Any], name: str, *, prefix: str = "") -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(f"{prefix}{name}: expected true or false", path=f"{prefix}{name}")
    return bool(value)


def _number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"{name}: expected a number in {low:g}..{high:g}", path=name)
    if not low <= value <= high:  # false for NaN, too
        raise InvalidInput(f"{name}: {repr(value)[:40]} is not in {low:g}..{high:g}", path=name)
    return float(value)


def _integer(body: Mapping[str, Any], name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{name}: expected an integer", path=name)
    if not low <= value <= high:
        raise InvalidInput(f"{name}: {repr(value)[:40]} is not in {low}..{high}", path=name)
    return value
