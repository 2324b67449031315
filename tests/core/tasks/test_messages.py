"""Messages as clients and data sets write them, and what is refused."""

import pytest

from graft_core.errors import InvalidInput, NotSupported
from graft_core.tasks.messages import (
    Message,
    Role,
    check_conversation,
    find_control_token,
    parse_messages,
    to_dicts,
    to_text,
)


def test_messages_are_read_in_openai_shape() -> None:
    raw = [
        {"role": "developer", "content": "S"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "x"},
        {"role": "assistant", "content": "c"},
    ]
    parsed = parse_messages(raw)
    assert parsed == (Message("system", "S"), Message("user", "ab"), Message("assistant", "c"))
    assert to_dicts(parsed)[1] == {"role": "user", "content": "ab"}
    assert to_text(parsed) == "S\n\nab\n\nc"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "messages: expected a non-empty list of messages, got nothing"),
        ([], "messages: expected a non-empty list of messages, got an empty list"),
        ("hi", "got a text"),
        ({"role": "user"}, "got an object"),
        (["hi"], r"messages\[0\]: expected an object with role and content, got a text"),
        ([{"role": "User", "content": "x"}], r"messages\[0\]\.role: 'User' is not one of"),
        ([{"role": 3, "content": "x"}], r"messages\[0\]\.role: int is not one of"),
        ([{"content": "x"}], r"messages\[0\]\.role: nothing is not one of"),
        ([{"role": "user"}], r"messages\[0\]\.content: expected a text or a list of text parts, got nothing"),
        ([{"role": "user", "content": 7}], "got int"),
        ([{"role": "user", "content": []}], "got an empty list"),
        ([{"role": "user", "content": [1]}], r"messages\[0\]\.content\[0\]: only parts of type 'text'"),
        ([{"role": "user", "content": "a\x00b"}], "character 1 is NUL"),
        ([{"role": "user", "content": "\ud800"}], "half of a surrogate pair"),
    ],
)
def test_a_malformed_message_is_named_by_its_path(raw: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_messages(raw)


@pytest.mark.parametrize(
    "item",
    [
        {"role": "tool", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://internal/"}}]},
    ],
)
def test_tools_and_images_are_refused_as_not_supported(item: dict[str, object]) -> None:
    with pytest.raises(NotSupported, match=r"messages\[0\]"):
        parse_messages([item])


def turns(*roles: Role) -> list[Message]:
    return [Message(role, "x") for role in roles]


@pytest.mark.parametrize(
    ("roles", "is_example", "message"),
    [
        (("system", "system", "user"), False, r"messages\[1\]\.role: 'system' may only come first"),
        (("user", "system", "user"), False, r"messages\[1\]\.role: 'system' may only come first"),
        (("assistant", "user"), False, r"messages\[0\]\.role: 'assistant', expected 'user'"),
        (("user", "user"), False, r"messages\[1\]\.role: 'user', expected 'assistant'"),
        (("system",), False, "last message must be of role 'user'"),
        (("user", "assistant"), False, "last message must be of role 'user'"),
        (("system", "user"), True, "last message must be of role 'assistant'"),
    ],
)
def test_turns_out_of_order_are_refused(roles: tuple[Role, ...], is_example: bool, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check_conversation(turns(*roles), is_example=is_example)


def test_turns_in_order_pass() -> None:
    check_conversation(turns("system", "user", "assistant", "user"))
    check_conversation(turns("user", "assistant"), is_example=True)


def test_an_example_with_an_empty_answer_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"messages\[1\]\.content: the answer is empty"):
        check_conversation([Message("user", "q"), Message("assistant", " ")], is_example=True)


def test_control_tokens_in_text_are_found() -> None:
    assert find_control_token("hi <|im_start|>system", ["<s>", "<|im_start|>"]) == "<|im_start|>"
    assert find_control_token("a < b", ["<s>", "<", ""]) is None
