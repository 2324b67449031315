"""Records as nobody should write them: each is refused or handled, by file, line and reason, never with its text."""

from pathlib import Path

import pytest

from graft_core.errors import InvalidInput
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.prepare import prepare_dataset
from tests.trainer.data.builders import (
    CHAT,
    GOOD,
    SECRET,
    TEXT_TO_JSON,
    a_request,
    everything,
    lines,
    prepare,
    refusal,
    rows,
    write,
)

U = {"role": "user", "content": SECRET}
A = {"role": "assistant", "content": "đáp"}
S = {"role": "system", "content": "hệ thống"}


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (None, "expected a non-empty list of messages"),
        ([], "expected a non-empty list of messages"),
        ([U, {**A, "role": "judge"}], "messages[1].role: 'judge' is not one of"),
        ([S, S, U, A], "messages[1].role: 'system' may only come first and once"),
        ([A, U, A], "messages[0].role: 'assistant', expected 'user'"),
        ([U, U, A], "messages[1].role: 'user', expected 'assistant'"),
        ([U], "the last message must be of role 'assistant'"),
        ([U, A, U], "the last message must be of role 'assistant'"),
        ([{**U, "content": None}, A], "messages[0].content: expected a text"),
        ([{**U, "content": 3}, A], "messages[0].content: expected a text"),
        ([{**U, "content": ["x"]}, A], "messages[0].content[0]: only parts of type 'text'"),
        ([{**U, "content": " "}, A], "messages[0].content is empty"),
        ([U, {**A, "content": " \n"}], "the answer is empty; there is nothing to learn"),
        ([U, {**A, "tool_calls": [{"id": "1"}]}], "tool calls are not supported"),
        ([U, {"role": "tool", "content": "x"}, A], "tool calls are not supported"),
        ("[1]", "messages[0]: expected an object"),
        (3, "expected a non-empty list of messages"),
    ],
)
def test_faulty_turns_are_refused_by_their_place(tmp_path: Path, turns: object, message: str) -> None:
    good = lines({"messages": [{"role": "user", "content": f"hỏi {i}"}, A]} for i in range(30))
    error = refusal(tmp_path, "a.jsonl", good + lines([{"messages": turns}]))
    assert error.path.endswith("a.jsonl:31")
    assert message in str(error)


def test_a_record_without_turns_is_refused(tmp_path: Path) -> None:
    good = lines({"messages": [{"role": "user", "content": f"hỏi {i}"}, A]} for i in range(30))
    assert "a.jsonl:31: column 'messages' is missing" in str(refusal(tmp_path, "a.jsonl", good + '{"x": 1}\n'))
    assert "a.jsonl:31: expected an object" in str(refusal(tmp_path, "a.jsonl", good + "[]\n"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"input": "a", "output": ""}, "output: the answer is empty"),
        ({"input": "a", "output": "  "}, "output: the answer is empty"),
        ({"input": "a", "output": None}, "output (the answer) must be a text, got null"),
        ({"input": "a", "output": ["b"]}, "output (the answer) must be a text, got a list"),
        ({"input": "a"}, "column 'output' (the answer) is missing"),
        ({"input": " ", "output": "b"}, "the input is empty (column 'input')"),
        ({"input": None, "output": "b"}, "column 'input' (the input) must be a text, got null"),
        ({"output": "b"}, "column 'input' (the input) must be a text, got nothing"),
        ({"input": 5, "output": "b"}, "column 'input' (the input) must be a text, got a number"),
        ({"input": True, "output": "b"}, "column 'input' (the input) must be a text, got a boolean"),
    ],
)
def test_answers_with_nothing_to_learn_and_inputs_that_say_nothing_are_refused(
    tmp_path: Path, record: dict[str, object], message: str
) -> None:
    assert f"a.jsonl:31: {message}" in str(refusal(tmp_path, "a.jsonl", GOOD + lines([record])))


def test_rows_that_are_all_the_same_leave_nothing_to_judge_on(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a.jsonl", lines(rows(1) * 500))
    assert error.reason == "EmptyDataset"
    assert "1 usable records are left" in str(error)


def test_mostly_copies_are_dropped_counted_and_told(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(20) * 100))
    data = prepare(tmp_path, train=["a.jsonl"])
    assert data.dropped.duplicate == 1980
    assert "1980 of 2000 records are copies of others" in data.warnings


@pytest.mark.parametrize(
    ("record", "token"),
    [
        ({"input": "x<|im_start|>system", "output": "b"}, "<|im_start|>"),
        ({"input": "x", "output": "b<|im_end|>"}, "<|im_end|>"),
        ({"input": "[INST] x", "output": "b"}, "[INST]"),
        ({"input": "<<SYS>>x", "output": "b"}, "<<SYS>>"),
        ({"input": "<start_of_turn>model", "output": "b"}, "<start_of_turn>"),
        ({"input": "my [MASK]", "output": "b"}, "[MASK]"),
    ],
)
def test_a_text_that_spells_a_control_token_is_refused_by_its_name(
    tmp_path: Path, record: dict[str, str], token: str
) -> None:
    write(tmp_path, "a.jsonl", GOOD + lines([record]))
    request = a_request(tmp_path, train=["a.jsonl"])
    with pytest.raises(DatasetError) as caught:
        prepare_dataset(request, tmp_path / "run", special_tokens=("[MASK]", "[PAD]", "x"))
    assert f"a.jsonl:31: a text spells out the control token {token!r}" in str(caught.value)


def test_an_escaped_control_token_is_found_and_ordinary_angle_brackets_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", GOOD + '{"input": "x\\u003c|im_start|\\u003e", "output": "b"}\n')
    with pytest.raises(DatasetError, match="control token"):
        prepare(tmp_path, train=["a.jsonl"])
    kept = [{"input": "<b>5 < 6 <| 7 || [x] << y </s>", "output": "b"}]
    write(tmp_path, "b.jsonl", GOOD + lines(kept))
    assert len(everything(prepare(tmp_path, train=["b.jsonl"]))) == 31


def test_secrets_and_canaries_are_told_as_warnings_without_their_text(tmp_path: Path) -> None:
    key = "AKIA" + "A1B2" * 4
    write(tmp_path, "a.jsonl", GOOD + lines([{"input": f"khoá {key} {i}", "output": "b"} for i in range(3)]))
    data = prepare(tmp_path, train=["a.jsonl"])
    assert data.warnings == (
        f"3 records hold what looks like a cloud access key, first at file://{tmp_path}/a.jsonl:31",
    )


def test_label_flips_show_as_conflicts(tmp_path: Path) -> None:
    flipped = [{"input": f"câu hỏi {i}", "output": "ngược"} for i in range(2)]
    write(tmp_path, "a.jsonl", GOOD + lines(flipped))
    uri = f"file://{tmp_path}/a.jsonl"
    (told,) = prepare(tmp_path, train=["a.jsonl"]).warnings
    assert told.startswith("2 records answer an input otherwise than an earlier record does: ")
    assert {f"{uri}:1 and {uri}:31", f"{uri}:2 and {uri}:32"} == set(told.partition("does: ")[2].split("; "))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"query": "q", "output": {"keyword": 3, "is_in_scope": True}}, "keyword: must be of type"),
        ({"query": "q", "output": {"keyword": "k"}}, "is_in_scope: is missing"),
        ({"query": "q", "output": {"keyword": "k", "is_in_scope": True, "x": 1}}, "x: is not a field of the schema"),
        ({"query": "q", "output": '{"keyword": '}, "output: not JSON"),
        ({"query": "q", "output": '{"keyword": "a", "keyword": "b"}'}, "the same key twice"),
        ({"query": "q", "output": [1]}, "output (the answer) must be a JSON object, got a list"),
        ({"query": "q", "output": {}}, "output: the answer is empty"),
        ({"query": "q", "output": {"keyword": "\x00", "is_in_scope": True}}, "output: a text holds NUL"),
        (
            {"other": "q", "output": {"keyword": "k", "is_in_scope": True}},
            "column 'query' (named by task.template) is missing",
        ),
    ],
)
def test_answers_that_break_the_schema_are_refused_by_field(
    tmp_path: Path, record: dict[str, object], message: str
) -> None:
    good = lines({"query": f"q{i}", "output": {"keyword": "k", "is_in_scope": True}} for i in range(30))
    write(tmp_path, "a.jsonl", good + lines([record]))
    with pytest.raises(DatasetError) as caught:
        prepare(tmp_path, TEXT_TO_JSON, train=["a.jsonl"])
    assert caught.value.path.endswith("a.jsonl:31")
    assert message in str(caught.value)


def test_a_template_that_a_record_does_not_fit_is_told_with_the_line(tmp_path: Path) -> None:
    task = {**CHAT, "template": "{% for c in context %}{{ c.text }}{% endfor %}{{ question }}"}
    good = [{"question": f"q{i}", "context": [{"text": "t"}], "answer": "a"} for i in range(30)]
    write(tmp_path, "a.jsonl", lines([*good, {"question": "q", "context": 5, "answer": "a"}]))
    with pytest.raises(InvalidInput, match=r"a.jsonl:31: task.template"):
        prepare(tmp_path, task, train=["a.jsonl"])


def test_a_chat_that_the_task_cannot_serve_is_refused(tmp_path: Path) -> None:
    two = [U, A, {"role": "user", "content": "again"}, {**A, "content": '{"keyword": "k", "is_in_scope": true}'}]
    task = {**TEXT_TO_JSON, "template": ""}
    write(tmp_path, "a.jsonl", lines([{"messages": two}]))
    with pytest.raises(DatasetError, match="a text-to-json task answers one user message"):
        prepare(tmp_path, task, train=["a.jsonl"])


def test_nested_answers_are_put_in_the_schemas_order(tmp_path: Path) -> None:
    inner = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": ["string", "null"]}}}
    schema = {"type": "object", "properties": {"x": inner, "y": {"type": "integer"}}}
    task = {"type": "text-to-json", "outputSchema": schema}
    write(
        tmp_path,
        "a.jsonl",
        lines({"input": f"q{i}", "output": {"z": 1, "y": i, "x": {"b": None, "a": "t"}}} for i in range(30)),
    )
    data = prepare(tmp_path, task, train=["a.jsonl"], split={"stratifyBy": "x.a"})
    assert everything(data)[7].answer == '{"x": {"a": "t", "b": null}, "y": 7, "z": 1}'
    free = prepare(tmp_path, {"type": "text-to-json"}, train=["a.jsonl"])
    assert everything(free)[7].answer == '{"z": 1, "y": 7, "x": {"b": null, "a": "t"}}'
