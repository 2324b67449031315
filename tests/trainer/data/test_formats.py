from pathlib import Path
from typing import Any

import pytest

from graft_core.api.v1alpha1.dataset import DatasetFormat
from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.errors import NotSupported
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.formats import Layout, choose_layout
from tests.trainer.data.builders import CHAT, everything, lines, prepare, write


def choose(columns: str, template: str = "", wanted: str = "auto") -> Layout:
    task = TaskSpec.model_validate({**CHAT, "template": template})
    return choose_layout(task, DatasetFormat(wanted), [columns.split()])


@pytest.mark.parametrize(
    ("columns", "template", "layout", "inputs", "answer"),
    [
        ("input output", "", "input-output", {"input": "input"}, "output"),
        ("prompt completion id", "", "input-output", {"prompt": "input"}, "completion"),
        ("question answer", "", "input-output", {"question": "input"}, "answer"),
        ("query sql", "", "input-output", {"query": "input"}, "sql"),
        ("query schema sql", "{{ schema }} {{ query }}", "input-output", {"query": "query", "schema": "schema"}, "sql"),
        (
            "question context answer",
            "{{ context }}{{ question }}",
            "input-output",
            {"context": "context", "question": "question"},
            "answer",
        ),
        ("question answer", "Q: {{ input }}", "input-output", {"question": "input"}, "answer"),
        ("khoá output", "{{ khoá }}", "input-output", {"khoá": "khoá"}, "output"),
        (
            "prompt answer output",
            "{{ prompt }} {{ answer }}",
            "input-output",
            {"answer": "answer", "prompt": "prompt"},
            "output",
        ),
        ("instruction input output", "", "instruction", {"instruction": "instruction", "input": "input"}, "output"),
        ("instruction response", "", "instruction", {"instruction": "instruction"}, "response"),
        ("instruction output", "{{ instruction }}", "instruction", {"instruction": "instruction"}, "output"),
        ("messages id", "", "messages", {}, "messages"),
        ("conversations", "", "messages", {}, "conversations"),
        ("text label", "", "text-label", {"text": "input"}, "label"),
        ("sentence category", "", "text-label", {"sentence": "input"}, "category"),
        ("text label", "Classify: {{ text }}", "text-label", {"text": "text"}, "label"),
    ],
)
def test_auto_finds_the_layout_by_its_columns(
    columns: str, template: str, layout: str, inputs: dict[str, str], answer: str
) -> None:
    found = choose(columns, template)
    assert (found.format.value, dict(found.inputs), found.answer) == (layout, inputs, answer)
    assert found.found.startswith(f"{layout}: ")
    assert choose(columns, template, layout) == found


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            "input output text label",
            "auto is ambiguous: the columns ['input', 'output', 'text', 'label'] fit text-label and input-output",
        ),
        ("messages input output", "fit messages and input-output; set spec.dataset.format"),
        ("input output answer", "columns 'output' and 'answer' could both be the answer"),
        ("input prompt output", "columns 'input' and 'prompt' could both be the input"),
        ("messages conversations", "columns 'messages' and 'conversations' could both be the turns"),
        (
            "a b",
            "auto knows no layout with the columns ['a', 'b']. messages needs a column 'messages' or 'conversations'",
        ),
    ],
)
def test_what_is_ambiguous_or_unknown_is_refused_with_what_was_seen(columns: str, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        choose(columns)
    assert message in str(caught.value)
    assert caught.value.path == "spec.dataset.format"


def test_a_wanted_layout_that_does_not_fit_is_refused_with_what_it_needs() -> None:
    with pytest.raises(
        DatasetError,
        match=r"text-label needs 'text' or 'sentence' and 'label' or 'category'; the records have \['input', 'output'\]",
    ):
        choose("input output", wanted="text-label")


def test_preference_records_are_refused_by_name() -> None:
    with pytest.raises(NotSupported, match="preference records"):
        choose("prompt chosen rejected")


def test_one_odd_record_decides_nothing() -> None:
    task = TaskSpec.model_validate(CHAT)
    records: list[tuple[str, ...]] = [("a", "b"), ("input", "output"), ("input", "output")]
    assert choose_layout(task, DatasetFormat.AUTO, records).format is DatasetFormat.INPUT_OUTPUT


def test_an_instruction_may_lack_its_input(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [{"instruction": f"i{i}", "input": "x", "output": "y"} for i in range(20)]
    records += [{"instruction": "only", "output": "y"}, {"instruction": "null", "input": None, "output": "y"}]
    write(tmp_path, "a.jsonl", lines(records))
    found = everything(prepare(tmp_path, train=["a.jsonl"]))
    assert [dict(record.fields) for record in found[19:]] == [
        {"instruction": "i19", "input": "x"},
        {"instruction": "only", "input": ""},
        {"instruction": "null", "input": ""},
    ]


def test_fields_that_the_template_does_not_name_stay_in_the_file(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines({"id": i, "query": f"q{i}", "lang": "vi", "output": "o"} for i in range(20)))
    found = everything(
        prepare(tmp_path, {**CHAT, "template": "{{ query }} {{ lang | default('en') }}"}, train=["a.jsonl"])
    )
    assert dict(found[0].fields) == {"query": "q0", "lang": "vi"}


def test_a_field_under_default_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines({"query": f"q{i}", "output": "o"} for i in range(20)))
    found = everything(
        prepare(tmp_path, {**CHAT, "template": "{{ query }} {{ lang | default('en') }}"}, train=["a.jsonl"])
    )
    assert dict(found[0].fields) == {"query": "q0"}


def test_labels_may_be_numbers(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines({"text": f"t{i}", "label": i % 3} for i in range(60)))
    data = prepare(tmp_path, {"type": "classification"}, train=["a.jsonl"])
    assert data.labels == ("0", "1", "2")


@pytest.mark.parametrize("label", [None, 1.5, ["a"]])
def test_labels_of_other_types_are_refused(tmp_path: Path, label: object) -> None:
    write(
        tmp_path,
        "a.jsonl",
        lines([*({"text": f"t{i}", "label": "ab"[i % 2]} for i in range(60)), {"text": "t", "label": label}]),
    )
    with pytest.raises(DatasetError, match=r"a.jsonl:61: label \(the label\) must be a text"):
        prepare(tmp_path, {"type": "classification"}, train=["a.jsonl"])
