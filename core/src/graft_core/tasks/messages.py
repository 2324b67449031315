"""Chat messages in OpenAI's shape: the form in which prompts travel between data, templates, engines and requests.

Text only: content parts of other types and tool calls are refused by name.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from graft_core.api.shapes import is_object, is_sequence
from graft_core.errors import InvalidInput, NotSupported

__all__ = [
    "ROLES",
    "Message",
    "Role",
    "check_conversation",
    "find_control_token",
    "parse_messages",
    "to_dicts",
    "to_text",
]

Role = Literal["system", "user", "assistant"]

ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",  # OpenAI's newer name for the same thing
    "user": "user",
    "assistant": "assistant",
}
"""Accepted roles and what they mean here."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: str

    def to_dict(self) -> dict[str, str]:
        """Return the shape that `apply_chat_template` and OpenAI's API take."""
        return {"role": self.role, "content": self.content}


def to_dicts(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return the messages as `apply_chat_template` takes them."""
    return [message.to_dict() for message in messages]


def to_text(messages: Sequence[Message]) -> str:
    """Join the contents with blank lines: what an encoder reads, which knows no roles."""
    return "\n\n".join(message.content for message in messages if message.content)


def parse_messages(raw: object, *, path: str = "messages") -> tuple[Message, ...]:
    """Read messages as clients and data sets write them.

    Args:
        raw: Anything that JSON can hold; a list of {role, content} is expected.
        path: Prefix of the field path in faults.

    Returns:
        At least one message, roles normalised.

    Raises:
        InvalidInput: The shape, a role or a content is wrong (NotSupported: tool calls, parts that are not text). Content is never quoted.
    """
    if not is_sequence(raw) or not raw:
        raise InvalidInput(f"{path}: expected a non-empty list of messages, got {_shape(raw)}", path=path)
    return tuple(_parse_message(item, f"{path}[{i}]") for i, item in enumerate(raw))


def _parse_message(item: object, path: str) -> Message:
    if not is_object(item):
        raise InvalidInput(f"{path}: expected an object with role and content, got {_shape(item)}", path=path)
    role = item.get("role")
    if role in {"tool", "function"} or item.get("tool_calls") or item.get("function_call"):
        raise NotSupported(f"{path}: tool calls are not supported in this version; send text messages", path=path)
    if not isinstance(role, str) or role not in ROLES:
        shown = repr(role[:32]) if isinstance(role, str) else _shape(role)
        raise InvalidInput(f"{path}.role: {shown} is not one of {', '.join(ROLES)}", path=f"{path}.role")
    return Message(ROLES[role], _parse_content(item.get("content"), f"{path}.content"))


def _parse_content(content: object, path: str) -> str:
    if isinstance(content, str):
        return _checked_text(content, path)
    if not is_sequence(content) or not content:
        raise InvalidInput(f"{path}: expected a text or a list of text parts, got {_shape(content)}", path=path)
    texts: list[str] = []
    for i, part in enumerate(content):
        text = part.get("text") if is_object(part) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise NotSupported(f"{path}[{i}]: only parts of type 'text' are supported", path=f"{path}[{i}]")
        texts.append(_checked_text(text, f"{path}[{i}].text"))
    return "".join(texts)


def _checked_text(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise InvalidInput(
            f"{path}: character {err.start} is half of a surrogate pair; send valid Unicode", path=path
        ) from err
    if "\x00" in text:
        raise InvalidInput(f"{path}: character {text.index(chr(0))} is NUL; remove it", path=path)
    return text


def check_conversation(messages: Sequence[Message], *, path: str = "messages", is_example: bool = False) -> None:
    """Refuse an order of turns that chat templates reject or render wrongly.

    Args:
        messages: As parse_messages returns them.
        path: Prefix of the field path in faults.
        is_example: A training example: must end with the assistant's answer. Otherwise a request: must end with the user.

    Raises:
        InvalidInput: More than one system message or one that is not first, turns that do not alternate, or a wrong last turn.
    """
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    offset = len(messages) - len(turns)
    for i, message in enumerate(turns):
        at = f"{path}[{i + offset}].role"
        if message.role == "system":
            raise InvalidInput(f"{at}: 'system' may only come first and once", path=at)
        expected = "user" if i % 2 == 0 else "assistant"
        if message.role != expected:
            raise InvalidInput(
                f"{at}: {message.role!r}, expected {expected!r}: turns alternate and the user begins", path=at
            )
    last = "assistant" if is_example else "user"
    if not turns or turns[-1].role != last:
        raise InvalidInput(f"{path}: the last message must be of role {last!r}", path=path)
    if is_example and not turns[-1].content.strip():
        at = f"{path}[{len(messages) - 1}].content"
        raise InvalidInput(f"{at}: the answer is empty; there is nothing to learn", path=at)


def find_control_token(text: str, special_tokens: Collection[str]) -> str | None:
    """Return a special token of the tokenizer that the text spells out, or None.

    Such text would be read as the template's own markup (a forged turn), in training and in serving.
    """
    return next((token for token in special_tokens if len(token) > 1 and token in text), None)


def _shape(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case list() | tuple():
            return "an empty list" if not value else "a list"
        case Mapping():
            return "an object"
        case str():
            return "a text"
        case _:
            return type(value).__name__
