"""THE prompt renderer: trainer and predictor both go through here, so training and serving cannot drift.

    record's fields  ── render_prompt ──┐
                                        ├─► system + user messages ─► tokenizer's chat template ─► ids
    request's messages ─ render_request ┘

The tokenizer is the caller's; core knows no ML library. How a request becomes fields, in this order:

1. `fields` beside the messages (the request's `graft.fields`): used as they are. If the template names exactly one variable
   more, the last user message is that variable; otherwise that message must be empty.
2. A template with one variable: the last user message is that variable, whatever it looks like.
3. A template with several: the last user message is a JSON object with them (those under `default` or `is defined` may miss).
4. No template: the last user message as it is.

Earlier turns are kept for `chat` and `rag-qa`; the other tasks answer one message. A client's own system message goes behind the
task's for `chat` and `rag-qa`; the other tasks are bound to theirs and take only an equal one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final, cast

from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import InvalidInput
from graft_core.tasks.messages import Message, check_conversation
from graft_core.tasks.sandbox import compile_template, to_prompt_text

__all__ = [
    "check_task_template",
    "input_text",
    "render_prompt",
    "render_request",
    "template_sha256",
    "template_variables",
]

_RENDERER_VERSION: Final = 1
"""Part of template_sha256; raised when the same task would render to other text than before."""

_CONVERSATIONAL: Final = frozenset({TaskType.CHAT, TaskType.RAG_QA})


def template_variables(task: TaskSpec) -> frozenset[str]:
    """Return the input fields that the task's template names.

    Raises InvalidInput: The template is not one that prompts may use.
    """
    return compile_template(task.template).variables


def check_task_template(task: TaskSpec) -> None:
    """Refuse a template that cannot be rendered, or that ignores its input.

    Raises InvalidInput: With the template's line where there is one.
    """
    if task.template and not template_variables(task):
        raise InvalidInput(
            "task.template names no input field, so every prompt would be the same; write e.g. '{{ query }}'",
            path="spec.task.template",
        )


def render_prompt(task: TaskSpec, fields: Mapping[str, object]) -> tuple[Message, ...]:
    """Render one input as the messages that come before the answer.

    Args:
        task: The task contract.
        fields: The input's fields, JSON values by name.

    Returns:
        The system message, where the task has one, and the user's.

    Raises:
        InvalidInput: A field that the template names is missing, the template is bad, or the result is empty or too long.
    """
    user = compile_template(task.template).render(dict(fields)) if task.template else input_text(fields)
    if not user.strip():
        raise InvalidInput("the input renders to an empty prompt", path="spec.task.template")
    messages = (Message("user", user),)
    return (Message("system", task.system), *messages) if task.system else messages


def input_text(fields: Mapping[str, object]) -> str:
    """Return the input as one text, for tasks without a template.

    One field is that text; `instruction` with an optional `input` are joined by a blank line.

    Raises InvalidInput: Other fields: their order and wording need a template.
    """
    if len(fields) == 1:
        return to_prompt_text(next(iter(fields.values())))
    if set(fields) == {"instruction", "input"}:
        return "\n\n".join(
            text for text in (to_prompt_text(fields["instruction"]), to_prompt_text(fields["input"])) if text
        )
    raise InvalidInput(
        f"the input has fields {sorted(fields)[:10]!r}; more than one needs task.template to say how they become a prompt",
        path="spec.task.template",
    )


def render_request(
    task: TaskSpec, messages: Sequence[Message], fields: Mapping[str, object] | None = None
) -> tuple[Message, ...]:
    """Render a request's messages as the model was trained to see them; the rules are in the module's docstring.

    Args:
        task: The task contract, from the adapter's manifest.
        messages: As the client sent them.
        fields: Input fields that the client sent beside the messages.

    Returns:
        System message where there is one, earlier turns (chat, rag-qa), and the user's rendered message.

    Raises:
        InvalidInput: The turns, the system message or the fields do not fit the task.
    """
    check_conversation(messages)
    system, turns = _split_system(messages)
    conversational = task.type in _CONVERSATIONAL
    if len(turns) > 1 and not conversational:
        raise InvalidInput(
            f"messages: a {task.type} task answers one user message, got {len(turns)} turns", path="messages"
        )
    if system is not None and not conversational and system != task.system:
        raise InvalidInput(
            "messages[0]: this task has a system message of its own; leave the system message out", path="messages[0]"
        )
    rendered = render_prompt(task, _request_fields(task, turns[-1].content, fields))
    own = task.system
    if conversational and system is not None and system != own:
        own = f"{own}\n\n{system}" if own else system
    head = (Message("system", own),) if own else ()
    return (*head, *turns[:-1], rendered[-1])


def _split_system(messages: Sequence[Message]) -> tuple[str | None, Sequence[Message]]:
    if messages[0].role == "system":
        return messages[0].content, messages[1:]
    return None, messages


def _request_fields(task: TaskSpec, text: str, fields: Mapping[str, object] | None) -> Mapping[str, object]:
    variables = template_variables(task)
    if fields:
        return _with_given_fields(variables, text, fields)
    if not task.template:
        return {"input": text}
    if len(variables) == 1:
        return {next(iter(variables)): text}
    return _parse_fields(variables, text)


def _with_given_fields(variables: frozenset[str], text: str, fields: Mapping[str, object]) -> Mapping[str, object]:
    unknown = sorted(fields.keys() - variables)
    if unknown:
        raise InvalidInput(
            f"graft.fields: the task has no input field {unknown[0][:64]!r}; it has {sorted(variables)!r}",
            path="graft.fields",
        )
    left = sorted(variables - fields.keys())
    if not text.strip():
        return fields
    if len(left) != 1:
        raise InvalidInput(
            f"messages: beside graft.fields, the user message is the one input field that is left; {len(left)} are"
            f" ({left!r}), so leave the message empty",
            path="messages",
        )
    return {**fields, left[0]: text}


def _parse_fields(variables: frozenset[str], text: str) -> Mapping[str, object]:
    wanted = f"send them as graft.fields, or as a JSON object with {sorted(variables)!r} in the user message"
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise InvalidInput(f"messages: this task has {len(variables)} input fields; {wanted}", path="messages") from err
    if not isinstance(value, dict):
        raise InvalidInput(f"messages: this task has {len(variables)} input fields; {wanted}", path="messages")
    given = cast("dict[str, object]", value)
    named = {name: given[name] for name in variables if name in given}
    if not named:
        raise InvalidInput(f"messages: the JSON object has none of the task's input fields; {wanted}", path="messages")
    return named


def template_sha256(task: TaskSpec, chat_template: str | None) -> str:
    """Hash all that turns an input into a prompt; differs exactly where a prompt could.

    Args:
        task: Type, system message and template count.
        chat_template: The tokenizer's own, or the fallback that was used; None for encoders.

    Returns:
        64 hex digits.
    """
    parts = [_RENDERER_VERSION, task.type.value, task.system, task.template, chat_template]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
