"""Fallback chat templates and the exact loss mask."""

import re

import pytest
from jinja2 import Environment

from graft_core.errors import InvalidInput
from graft_core.tasks.catalog import (
    MaskMethod,
    choose_chat_template,
    choose_mask_method,
    has_generation_spans,
    load_chat_template,
    prefix_mask,
)

CONVERSATION = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": " q "},
    {"role": "assistant", "content": "a"},
]
TAG = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")


def render(text: str, *, turns: list[dict[str, str]], add_generation_prompt: bool = False) -> str:
    """Render as a tokenizer does, with the spans' borders written out."""
    shown = TAG.sub(lambda m: "{{- '»' -}}" if m[1] else "{{- '«' -}}", text)
    return (
        Environment(autoescape=False)  # noqa: S701  # prompts are not HTML
        .from_string(shown)
        .render(messages=turns, add_generation_prompt=add_generation_prompt, eos_token="</s>")
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chatml", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n q <|im_end|>\n<|im_start|>assistant\n«a<|im_end|>»\n"),
        ("plain", "### System:\nS\n\n### User:\n q \n\n### Assistant:\n«a</s>»\n\n"),
    ],
)  # fmt: skip
def test_span_covers_the_answer_and_the_token_that_ends_it(name: str, expected: str) -> None:
    assert render(load_chat_template(name).text, turns=CONVERSATION) == expected


@pytest.mark.parametrize("name", ["chatml", "plain"])
def test_prompt_with_generation_prompt_is_a_prefix_of_the_conversation(name: str) -> None:
    text = load_chat_template(name).text
    prompt = render(text, turns=CONVERSATION[:2], add_generation_prompt=True)
    assert render(text, turns=CONVERSATION).replace("«", "").startswith(prompt)


def test_chatml_is_chosen_where_the_tokenizer_has_its_tokens() -> None:
    assert choose_chat_template(["<|im_start|>", "<|im_end|>", "<s>"]).name == "chatml"
    assert choose_chat_template(["<s>"]).name == "plain"
    assert len(choose_chat_template([]).sha256) == 64


def test_unknown_template_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="'llama9' is not one of chatml, plain"):
        load_chat_template("llama9")


def test_mask_method_follows_the_template() -> None:
    assert has_generation_spans("{% generation %}x{%- endgeneration -%}")
    assert choose_mask_method(load_chat_template("plain").text) is MaskMethod.SPANS
    assert choose_mask_method("{% if add_generation_prompt %}{% endif %}") is MaskMethod.PREFIX


def test_prefix_mask_marks_the_answer() -> None:
    assert prefix_mask([1, 2], [1, 2, 3, 4]) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("prompt", "full", "message"),
    [
        ([1, 9], [1, 2, 3], "renders the prompt differently"),
        ([1, 2], [1, 2], "no tokens"),
        ([1, 2], [1], "differently"),
    ],
)
def test_prefix_mask_refuses_what_is_not_exact(prompt: list[int], full: list[int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        prefix_mask(prompt, full)
