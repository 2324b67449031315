"""Exact loss masks, with templates of every kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graft_core.errors import InvalidInput
from graft_core.tasks.catalog import MaskMethod, load_chat_template
from graft_core.tasks.messages import Message, to_dicts
from graft_core.tasks.template import render_request
from graft_trainer.modeling.encode import IGNORED, ChatEncoder
from tests.trainer.tiny import CHAT_TEMPLATE, SPAN_TEMPLATE, json_task, make_causal

NO_END = (
    "{%- for m in messages -%}{{ m['role'] + ': ' + m['content'] + '\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}assistant:{%- endif -%}"
)
REWRITES = (
    "{%- for m in messages -%}{{ m['role'] + ': ' + m['content'] }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}|answer now|{%- endif -%}"
)


@dataclass(frozen=True)
class An:
    answer: str = '{"ok": true}'
    fields: Any = None
    messages: Any = None


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from graft_trainer.modeling.tokenizer import load_tokenizer

    folder: Path = make_causal(tmp_path_factory.mktemp("base"), chat_template=None)
    return load_tokenizer(folder)


def encoder(tokenizer: Any, template: str | None, **options: Any) -> ChatEncoder:
    tokenizer.chat_template = template
    return ChatEncoder(tokenizer, json_task(), **options)


def learned(tokenizer: Any, labels: list[int]) -> str:
    return "".join(tokenizer.convert_ids_to_tokens([label for label in labels if label != IGNORED])).replace("Ġ", " ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "method", "expected"),
    [
        pytest.param(SPAN_TEMPLATE, MaskMethod.SPANS, '{"ok": true}<end>', id="generation-spans"),
        pytest.param(CHAT_TEMPLATE, MaskMethod.PREFIX, '{"ok": true}<end>', id="prefix-with-line-feed-behind-the-end"),
        pytest.param(NO_END, MaskMethod.PREFIX, ' {"ok": true}Ċ<end>', id="no-end-token-gets-eos"),
        pytest.param(None, MaskMethod.SPANS, '{"ok": true}<end>', id="no-template-gets-the-plain-one"),
        pytest.param(
            load_chat_template("plain").text, MaskMethod.SPANS, '{"ok": true}<end>', id="the-plain-one-by-name"
        ),
    ],
)
def test_loss_covers_the_answer_and_its_end_token_and_nothing_else(
    tokenizer: Any, template: str | None, method: MaskMethod, expected: str
) -> None:
    found = encoder(tokenizer, template)
    encoded = found.encode(An(fields={"query": "is 4 even"}))
    assert found.mask_method is method
    assert learned(tokenizer, encoded.labels) == expected
    assert all(label in {IGNORED, token} for token, label in zip(encoded.input_ids, encoded.labels, strict=True))


@pytest.mark.slow
def test_of_several_answers_only_the_last_is_learned(tokenizer: Any) -> None:
    chat = (Message("user", "one"), Message("assistant", "first"), Message("user", "two"))
    tokenizer.chat_template = SPAN_TEMPLATE
    task = json_task(type="chat", outputSchema=None, template="")
    encoded = ChatEncoder(tokenizer, task).encode(An(answer="second", messages=chat))
    assert learned(tokenizer, encoded.labels) == "second<end>"


@pytest.mark.slow
def test_everything_is_learned_when_completion_only_loss_is_off(tokenizer: Any) -> None:
    encoded = encoder(tokenizer, SPAN_TEMPLATE, completion_only=False).encode(An(fields={"query": "x"}))
    assert encoded.labels == encoded.input_ids


@pytest.mark.slow
def test_a_template_that_renders_the_prompt_differently_once_answered_is_refused(tokenizer: Any) -> None:
    with pytest.raises(InvalidInput, match="renders the prompt differently once the answer is there"):
        encoder(tokenizer, REWRITES).encode(An(fields={"query": "x"}))


@pytest.mark.slow
@pytest.mark.parametrize(
    "template", [SPAN_TEMPLATE, CHAT_TEMPLATE, NO_END, None], ids=["spans", "prefix", "bare", "none"]
)
@pytest.mark.parametrize("query", ["is 4 even", "Giá bao nhiêu?", "  spaces  ", "line\nfeed", "😀 emoji"])
def test_training_prompts_are_token_for_token_what_serving_feeds(
    tokenizer: Any, template: str | None, query: str
) -> None:
    found = encoder(tokenizer, template)
    example = An(fields={"query": query})
    served = render_request(json_task(), (Message("user", query),))
    ids = tokenizer.apply_chat_template(
        to_dicts(served), chat_template=found.chat_template, add_generation_prompt=True, return_dict=False
    )
    assert found.prompt_ids(example) == ids
    assert found.encode(example).input_ids[: len(ids)] == ids


@pytest.mark.slow
def test_generation_stops_at_the_token_that_ends_an_answer(tokenizer: Any) -> None:
    assert encoder(tokenizer, CHAT_TEMPLATE).end_token_ids == (tokenizer.convert_tokens_to_ids("<end>"),)
