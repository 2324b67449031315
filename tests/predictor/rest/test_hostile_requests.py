"""Rows 56 to 58 of the list of bad input: refused by the name of the parameter, cheaply, without a traceback."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from graft_predictor.rest.body import Limits
from tests.predictor.builders import an_arm

JSON = {"content-type": "application/json"}
ADDRESS = "/v1/chat/completions"


async def post(content: Any, headers: dict[str, str] | None = None, limits: Limits | None = None) -> Any:
    arm = an_arm(limits=limits)
    response = await arm.client.post(ADDRESS, content=content, headers=headers if headers is not None else JSON)
    assert "Traceback" not in response.text
    return response


# ---------------------------------------------------------------- 56
@pytest.mark.parametrize(
    ("content", "headers", "param"),
    [
        (b"", JSON, "body"),
        (b"  ", JSON, "body"),
        (b"{", JSON, "body"),
        (b"[]", JSON, "body"),
        (b'"text"', JSON, "body"),
        (b"{}", {"content-type": "text/plain"}, "content-type"),
        (b"{}", {"content-type": "multipart/form-data; boundary=x"}, "content-type"),
        (b'{"a": "\xff"}', JSON, "body"),
        (b"\x00\x01", JSON, "body"),
        (b"[" * 100_000, JSON, "body"),
        (b'{"a": ' * 5_000 + b"NaN", JSON, "body"),
    ],
)
async def test_row_56_a_body_that_is_no_json_object_is_refused(
    content: bytes, headers: dict[str, str], param: str
) -> None:
    response = await post(content, headers)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_row_56_a_declared_100_mb_is_refused_unread() -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"x"
        raise AssertionError("the body was read")

    response = await post(never(), {**JSON, "content-length": str(100 * 1024 * 1024)})

    assert response.status_code == 413
    assert response.json()["error"]["param"] == "body"
    assert response.headers["connection"] == "close"


async def test_row_56_chunks_without_end_are_cut_off_at_the_limit() -> None:
    sent = 0

    async def bomb() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b"x" * 1000

    response = await post(bomb(), limits=Limits(max_body_bytes=10_000, read_timeout_s=1))

    assert response.status_code == 413
    assert sent <= 12_000


async def test_row_56_a_body_that_drips_is_given_up() -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield b'{"model":'
        await asyncio.Event().wait()

    response = await post(drip(), limits=Limits(max_body_bytes=10_000, read_timeout_s=0.02))

    assert response.status_code == 400
    assert "did not arrive within 0.02 seconds" in response.json()["error"]["message"]


# ---------------------------------------------------------------- 57
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ('"max_tokens": -1', "max_tokens"),
        ('"max_tokens": 0', "max_tokens"),
        ('"max_tokens": 1000000000', "max_tokens"),
        ('"max_tokens": 1e9', "max_tokens"),
        ('"max_tokens": "5"', "max_tokens"),
        ('"max_tokens": true', "max_tokens"),
        ('"max_completion_tokens": 0', "max_completion_tokens"),
        ('"temperature": NaN', "temperature"),
        ('"temperature": Infinity', "temperature"),
        ('"temperature": -0.1', "temperature"),
        ('"temperature": 2.1', "temperature"),
        ('"temperature": "hot"', "temperature"),
        ('"top_p": 0', "top_p"),
        ('"top_p": 1.5', "top_p"),
        ('"n": 1000', "n"),
        ('"n": 0', "n"),
        ('"seed": 1.5', "seed"),
        ('"seed": 1e400', "body"),
        ('"seed": 1e300', "seed"),
        ('"temperature": [NaN]', "temperature"),
        ('"stop": [' + ",".join(['"a"'] * 10_000) + "]", "stop"),
        ('"stop": [""]', "stop"),
        ('"stop": [1]', "stop"),
        ('"stop": {}', "stop"),
        (f'"stop": "{"x" * 257}"', "stop"),
        ('"stream": "yes"', "stream"),
        ('"stream_options": {"include_usage": true}', "stream_options"),
        ('"stream": true, "stream_options": {"x": 1}', "stream_options.x"),
        ('"stream": true, "stream_options": {"include_usage": 1}', "stream_options.include_usage"),
        ('"response_format": {"type": "json_schema"}', "response_format"),
        ('"tools": [{"type": "function"}]', "tools"),
        ('"logprobs": true', "logprobs"),
        ('"logit_bias": {"1": 100}', "logit_bias"),
        ('"frequency_penalty": 1', "frequency_penalty"),
        ('"unheard_of": 1', "unheard_of"),
        ('"graft": 1', "graft."),
        ('"graft": {"fields": 1}', "graft.fields"),
        ('"graft": {"fields": {"q": 1}}', "graft.fields"),
    ],
    ids=lambda value: value[:30],
)
async def test_row_57_a_parameter_out_of_range_is_named(body: str, param: str) -> None:
    response = await post(f'{{"messages": [{{"role": "user", "content": "x"}}], {body}}}')

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert len(response.content) < 1000


@pytest.mark.parametrize(
    "body",
    ['"tools": null', '"n": 1', '"logprobs": false', '"tool_choice": "auto"', '"user": "u"', '"presence_penalty": 0.0'],
)
async def test_values_that_change_nothing_are_taken(body: str) -> None:
    response = await post(f'{{"messages": [{{"role": "user", "content": "x"}}], {body}}}')

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ("null", "messages"),
        ("[]", "messages"),
        ('[{"role": "user"}]', "messages[0].content"),
        ('[{"role": "wizard", "content": "x"}]', "messages[0].role"),
        ('[{"role": "user", "content": "x"}, {"role": "user", "content": "x"}]', "messages[1].role"),
        ('[{"role": "user", "content": [{"type": "image_url"}]}]', "messages[0].content[0]"),
        ('[{"role": "user", "content": "\\ud800"}]', "messages[0].content"),
        ('[{"role": "user", "content": "a\\u0000b"}]', "messages[0].content"),
    ],
)
async def test_messages_of_another_form_are_refused_by_place(messages: str, param: str) -> None:
    response = await post(f'{{"messages": {messages}}}')

    assert response.status_code == 400
    assert response.json()["error"]["param"] in {param, "body"}


# ---------------------------------------------------------------- 58
@pytest.mark.parametrize("char", ["x", "\u200b", "\u0301"])
async def test_row_58_a_million_characters_are_over_the_context(char: str) -> None:
    arm = an_arm(limits=Limits(max_body_bytes=4_000_000, read_timeout_s=2))
    response = await arm.chat(char * 1_000_000)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert response.json()["error"]["param"] == "messages"


async def test_row_58_a_prompt_of_zero_width_characters_is_empty() -> None:
    response = await an_arm().chat("\u200b" * 1000)

    assert response.status_code == 400
    assert "no visible character" in response.json()["error"]["message"]


async def test_row_58_invalid_utf8_is_told_by_its_byte() -> None:
    response = await post(b'{"messages": [{"role": "user", "content": "\xc3\x28"}]}')

    assert response.status_code == 400
    assert "not valid UTF-8" in response.json()["error"]["message"]


@pytest.mark.parametrize("body", [{}, {"prompt": ["a", "b"]}, {"prompt": 3}, {"prompt": [[1, 2]]}])
async def test_a_completion_prompt_of_another_form_is_refused(body: dict[str, Any]) -> None:
    response = await an_arm().client.post("/v1/completions", json=body)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "prompt"
