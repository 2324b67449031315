"""A data set from its files to its three splits: read, checked, stored, opened again."""

import json
from pathlib import Path

import pytest

from graft_core.contracts.train_request import Pinned
from graft_core.errors import InvalidInput, NotReady, NotSupported
from graft_core.tasks.messages import Message
from graft_trainer.config import DataLimits
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.prepare import Measure, PrepareProgress, load_prepared, prepare_dataset
from tests.trainer.data.builders import (
    CHAT,
    CLASSIFICATION,
    TEXT_TO_JSON,
    a_request,
    everything,
    ids,
    lines,
    prepare,
    rows,
    write,
)


def test_a_hundred_records_are_divided_and_read_back_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(100)))
    data = prepare(tmp_path, train=["a.jsonl"])
    counts = data.counts
    assert counts.train + counts.validation + counts.test == 100
    assert min(counts.train, counts.validation, counts.test) > 0
    first = everything(data)[0]
    assert (first.source, first.line) == (f"file://{tmp_path}/a.jsonl", 1)
    assert (first.fields, first.messages, first.answer, first.label) == (
        {"input": "câu hỏi 0"},
        None,
        "trả lời 0",
        None,
    )
    assert data.found == "input-output: answer in column 'output', input in 'input' (by its name)"
    assert data.lengths.unit == "characters"
    assert sum(data.lengths.counts) == 100
    assert data.lengths.longest == 20
    assert data.lengths.buckets()[4] == (16, 32, 100)
    assert data.status.digest == data.digest


def test_splits_are_sequences_that_can_be_cut_and_walked_again(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(60)))
    train = prepare(tmp_path, train=["a.jsonl"]).train
    assert list(train) == list(train)
    assert [record.line for record in train[:3]] == [record.line for record in list(train)[:3]]
    assert train[-1] == list(train)[-1]
    with pytest.raises(IndexError):
        train[len(train)]


def test_json_answers_are_written_in_the_schemas_order_and_unescaped(tmp_path: Path) -> None:
    records = [{"query": f"q{i}", "output": json.dumps({"is_in_scope": True, "keyword": f"áo {i}"})} for i in range(30)]
    write(tmp_path, "a.jsonl", lines(records))
    data = prepare(tmp_path, TEXT_TO_JSON, train=["a.jsonl"])
    assert everything(data)[3].answer == '{"keyword": "áo 3", "is_in_scope": true}'


def test_one_bad_line_of_a_thousand_is_refused_with_its_number(tmp_path: Path) -> None:
    text = lines(rows(1000)).splitlines()
    text[416] = '{"input": "bí mật"'
    write(tmp_path, "a.jsonl", "\n".join(text))
    with pytest.raises(DatasetError) as caught:
        prepare(tmp_path, train=["a.jsonl"])
    assert caught.value.path == f"file://{tmp_path}/a.jsonl:417"
    assert str(caught.value).startswith(
        f"1 of 1000 records is bad (onInvalidRecord: fail): file://{tmp_path}/a.jsonl:417: not JSON:"
    )
    assert "bí mật" not in str(caught.value)
    assert [problem.line for problem in caught.value.problems] == [417]


def test_one_bad_line_of_a_thousand_is_skipped_and_counted_if_the_spec_says_so(tmp_path: Path) -> None:
    text = lines(rows(1000)).splitlines()
    text[416] = "{"
    write(tmp_path, "a.jsonl", "\n".join(text))
    data = prepare(tmp_path, train=["a.jsonl"], onInvalidRecord="skip")
    assert data.dropped.invalid == 1
    assert len(everything(data)) == 999
    assert [problem.line for problem in data.problems] == [417]


def test_too_many_bad_lines_are_refused_after_all(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(97)) + "x\n" * 3)
    with pytest.raises(DatasetError, match=r"3 of 100 records are bad, more than maxInvalidFraction 0.01"):
        prepare(tmp_path, train=["a.jsonl"], onInvalidRecord="skip")
    data = prepare(tmp_path, train=["a.jsonl"], onInvalidRecord="skip", maxInvalidFraction="0.03")
    assert data.dropped.invalid == 3


def test_the_report_names_twenty_bad_records_and_counts_all(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(10)) + "[1]\n" * 100)
    with pytest.raises(DatasetError, match=r"100 of 110 records are bad.*; and 95 more") as caught:
        prepare(tmp_path, train=["a.jsonl"])
    assert len(caught.value.problems) == 20


def test_a_second_call_opens_what_the_first_stored(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(50)))
    request = a_request(tmp_path, train=["a.jsonl"])
    first = prepare_dataset(request, tmp_path / "run")
    stamp = (tmp_path / "run/prepared/dataset.json").stat().st_mtime_ns
    second = prepare_dataset(request, tmp_path / "run")
    assert (tmp_path / "run/prepared/dataset.json").stat().st_mtime_ns == stamp
    assert list(second.train) == list(first.train)
    assert list(load_prepared(tmp_path / "run").test) == list(first.test)
    other = prepare_dataset(a_request(tmp_path, train=["a.jsonl"], split={"seed": 1}), tmp_path / "run")
    assert ids(other) != ids(first)


def test_what_a_killed_check_left_is_no_data_set(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(50)))
    (tmp_path / "run/prepared.building-1").mkdir(parents=True)
    (tmp_path / "run/prepared").mkdir()
    with pytest.raises(NotReady, match="run validate or train first"):
        load_prepared(tmp_path / "run")
    assert len(everything(prepare(tmp_path, train=["a.jsonl"]))) == 50
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["prepared"]


def test_other_bytes_than_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(50)))
    request = a_request(tmp_path, train=["a.jsonl"])
    digest = prepare_dataset(request, tmp_path / "run").digest
    pinned = request.model_copy(update={"pinned": Pinned(dataset_digest=digest, base_revision="sha256:0")})
    assert prepare_dataset(pinned, tmp_path / "train").digest == digest
    write(tmp_path, "a.jsonl", lines(rows(51)))
    with pytest.raises(DatasetError, match=f"expected {digest}") as caught:
        prepare_dataset(pinned, tmp_path / "train")
    assert caught.value.reason == "DatasetChanged"


def test_the_digest_is_over_bytes_and_splits_not_names(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(50)))
    write(tmp_path, "b.jsonl", lines(rows(50)))
    assert prepare(tmp_path, train=["a.jsonl"]).digest == prepare(tmp_path, train=["b.jsonl"]).digest


def test_progress_is_told_and_ends_at_the_whole(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(500)))
    told: list[PrepareProgress] = []
    request = a_request(tmp_path, train=["a.jsonl"])
    prepare_dataset(request, tmp_path / "run", told.append, limits=DataLimits(piece_bytes=1000))
    size = (tmp_path / "a.jsonl").stat().st_size
    assert len(told) == -(-size // 1000)
    assert told[-1] == PrepareProgress(size, size, 500)


def test_small_pieces_batches_and_buckets_change_nothing(tmp_path: Path) -> None:
    records = [*rows(300), *rows(20)]
    write(tmp_path, "a.jsonl", "\ufeff" + lines(records))
    request = a_request(tmp_path, train=["a.jsonl"], onInvalidRecord="skip")
    whole = prepare_dataset(request, tmp_path / "whole")
    limits = DataLimits(piece_bytes=97, batch_bytes=100, bucket_bytes=1000)
    cut = prepare_dataset(request, tmp_path / "cut", limits=limits)
    assert list(cut.train) == list(whole.train)
    assert list(cut.test) == list(whole.test)
    assert cut.dropped == whole.dropped


def test_records_over_the_model_length_are_bad_records_where_lengths_are_measured(tmp_path: Path) -> None:
    records = [*rows(99), {"input": "dài " * 80, "output": "x"}]
    write(tmp_path, "a.jsonl", lines(records))
    measure = Measure(lambda record: len(str(record.fields["input"]).split()) + 1, "words")
    request = a_request(tmp_path, train=["a.jsonl"])
    with pytest.raises(DatasetError, match=r"a.jsonl:100: 81 tokens; spec.training.maxLength is 64"):
        prepare_dataset(request, tmp_path / "run", measure=measure)
    skip = a_request(tmp_path, train=["a.jsonl"], onInvalidRecord="skip")
    data = prepare_dataset(skip, tmp_path / "run", measure=measure)
    assert data.dropped.invalid == 1
    assert data.lengths.unit == "tokens"
    assert data.lengths.counts == (0, 0, 99)


@pytest.mark.parametrize(
    ("task", "by", "message"),
    [
        (CHAT, "label", "'label' does not fit a chat task; use 'length'"),
        (CLASSIFICATION, "intent", "'intent' does not fit a classification task; use 'length' or 'label'"),
        (TEXT_TO_JSON, "colour", "no answer has a field 'colour'"),
        (TEXT_TO_JSON, "keyword", "more than 1024 different values of spec.dataset.split.stratifyBy"),
    ],
)
def test_a_stratum_that_the_task_cannot_have_is_refused(
    tmp_path: Path, task: dict[str, object], by: str, message: str
) -> None:
    records = [{"query": f"q{i}", "output": {"keyword": f"k{i}", "is_in_scope": True}} for i in range(1100)]
    write(tmp_path, "a.jsonl", lines(records))
    with pytest.raises(DatasetError) as caught:
        prepare(tmp_path, task, train=["a.jsonl"], split={"stratifyBy": by})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "path"),
    [
        ({"format": "preference"}, "spec.dataset.format"),
        ({"format": "fields"}, "spec.dataset.format"),
        ({"dedupe": {"near": {}}}, "spec.dataset.dedupe.near"),
        ({"test": ["hf://owner/name"]}, "spec.dataset.test[0]"),
        ({"test": ["pvc://claim/x.jsonl"]}, "spec.dataset.test[0]"),
    ],
)
def test_what_is_not_built_is_refused_by_name(tmp_path: Path, dataset: dict[str, object], path: str) -> None:
    write(tmp_path, "a.jsonl", lines(rows(30)))
    with pytest.raises(NotSupported, match="not supported in this version") as caught:
        prepare(tmp_path, train=["a.jsonl"], **dataset)
    assert caught.value.path == path


def test_a_template_without_a_field_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(30)))
    with pytest.raises(InvalidInput, match="names no input field"):
        prepare(tmp_path, {**CHAT, "template": "hello"}, train=["a.jsonl"])


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(30)))

    def meddle(progress: PrepareProgress) -> None:
        write(tmp_path, "a.jsonl", lines(rows(31)))

    with pytest.raises(DatasetError, match="changed while it was read"):
        prepare_dataset(a_request(tmp_path, train=["a.jsonl"]), tmp_path / "run", meddle)
    assert not list((tmp_path / "run").iterdir())


def test_chats_keep_their_turns_and_learn_the_last(tmp_path: Path) -> None:
    chat = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]
    shared = [{"from": "human", "value": "hỏi"}, {"from": "gpt", "value": "đáp"}]
    write(
        tmp_path,
        "a.jsonl",
        lines({"messages": [*chat[:-1], {"role": "assistant", "content": f"d{i}"}]} for i in range(1)),
    )
    write(
        tmp_path,
        "b.jsonl",
        lines({"conversations": [{"from": "human", "value": f"h{i}"}, shared[1]]} for i in range(9)),
    )
    data = prepare(tmp_path, train=["b.jsonl"])
    assert everything(data)[2].messages == (Message("user", "h2"),)
    write(
        tmp_path,
        "c.jsonl",
        lines({"messages": [*chat[:3], {"role": "user", "content": f"{i}"}, chat[4]]} for i in range(9)),
    )
    record = everything(prepare(tmp_path, train=["c.jsonl"]))[5]
    assert record.messages == (*(Message(m["role"], m["content"]) for m in chat[:3]), Message("user", "5"))  # type: ignore[arg-type]  # roles of a literal
    assert (record.answer, record.fields) == ("d", {})


@pytest.mark.slow
def test_several_processes_find_what_one_finds(tmp_path: Path) -> None:
    text = lines(rows(3000)).splitlines()
    text[2500] = "{"
    write(tmp_path, "a.jsonl", "\n".join(text))
    request = a_request(tmp_path, train=["a.jsonl"], onInvalidRecord="skip")
    one = prepare_dataset(request, tmp_path / "one")
    limits = DataLimits(piece_bytes=20_000, parallel_bytes=0)
    many = prepare_dataset(request, tmp_path / "many", limits=limits)
    assert list(many.train) == list(one.train)
    assert many.problems == one.problems
    assert many.problems[0].line == 2501
    strict = a_request(tmp_path, train=["a.jsonl"])
    with pytest.raises(DatasetError, match=r"a.jsonl:2501"):
        prepare_dataset(strict, tmp_path / "many", limits=limits)
