import json
from pathlib import Path

import pytest

from graft_core.contracts.train_request import Pinned
from graft_core.errors import InvalidInput, NotReady, NotSupported
from graft_core.tasks.messages import Message
from graft_trainer.config import DataLimits
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.prepare import Measure, PrepareProgress, load_prepared, prepare_dataset
from graft_trainer.data.records import PreparedDataset
from tests.trainer.data.builders import (
    CHAT,
    CLASSIFICATION,
    TEXT_TO_JSON,
    a_request,
    everything,
    lines,
    prepare,
    rows,
    write,
)


def ids(data: PreparedDataset) -> dict[str, set[str]]:
    return {name: {record.id for record in data.split(name)} for name in ("train", "validation", "test")}


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


def test_a_record_stays_on_its_side_when_others_are_added_or_reordered(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(200)))
    before = ids(prepare(tmp_path, train=["a.jsonl"]))
    write(tmp_path, "b.jsonl", lines(reversed(rows(300))))
    after = ids(prepare(tmp_path, train=["b.jsonl"]))
    assert all(before[name] <= after[name] for name in before)


def test_another_seed_divides_otherwise(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(200)))
    first = ids(prepare(tmp_path, train=["a.jsonl"]))
    second = ids(prepare(tmp_path, train=["a.jsonl"], split={"seed": 7}))
    assert first["test"] != second["test"]


def test_key_order_and_white_space_do_not_make_another_record(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(30)) + '{ "output" : "trả lời 1" , "input":"câu hỏi 1"}\n')
    data = prepare(tmp_path, train=["a.jsonl"])
    assert data.dropped.duplicate == 1
    assert sum([data.counts.train, data.counts.validation, data.counts.test]) == 30


def test_copies_are_kept_on_one_side_when_they_may_stay(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines([*rows(50), *rows(50)]))
    data = prepare(tmp_path, train=["a.jsonl"], dedupe={"exact": False})
    found = ids(data)
    assert data.dropped.duplicate == 0
    assert len(data.train) + len(data.validation) + len(data.test) == 100
    assert not found["train"] & (found["test"] | found["validation"])


@pytest.mark.parametrize("stratify", [None, "is_in_scope", "length"])
def test_two_answers_to_one_input_stay_on_one_side_and_are_told(tmp_path: Path, stratify: str | None) -> None:
    twice = [
        {"query": f"áo {i}", "output": {"keyword": "áo", "is_in_scope": scope}}
        for i in range(40)
        for scope in (True, False)
    ]
    write(tmp_path, "a.jsonl", lines(twice))
    data = prepare(tmp_path, TEXT_TO_JSON, train=["a.jsonl"], split={"stratifyBy": stratify} if stratify else {})
    sides = [{record.fields["query"] for record in data.split(name)} for name in ("train", "validation", "test")]
    assert sum(map(len, sides)) == 40
    uri = f"file://{tmp_path}/a.jsonl"
    assert data.warnings[0].startswith(f"40 records answer an input otherwise than an earlier record does: {uri}:")


def test_stratified_shares_are_exact_in_each_stratum(tmp_path: Path) -> None:
    records = [{"query": f"câu {i}", "output": {"keyword": f"k{i}", "is_in_scope": i % 25 != 0}} for i in range(1000)]
    write(tmp_path, "a.jsonl", lines(records))
    data = prepare(tmp_path, TEXT_TO_JSON, train=["a.jsonl"], split={"stratifyBy": "is_in_scope"})
    rare = {
        name: sum(not json.loads(record.answer)["is_in_scope"] for record in data.split(name))
        for name in ("train", "validation", "test")
    }
    assert rare == {"train": 32, "validation": 4, "test": 4}
    assert (data.counts.train, data.counts.validation, data.counts.test) == (800, 100, 100)


def test_json_answers_are_written_in_the_schemas_order_and_unescaped(tmp_path: Path) -> None:
    records = [{"query": f"q{i}", "output": json.dumps({"is_in_scope": True, "keyword": f"áo {i}"})} for i in range(30)]
    write(tmp_path, "a.jsonl", lines(records))
    data = prepare(tmp_path, TEXT_TO_JSON, train=["a.jsonl"])
    assert everything(data)[3].answer == '{"keyword": "áo 3", "is_in_scope": true}'


def test_given_splits_are_used_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(40)))
    write(tmp_path, "t.csv", "question,answer\n" + "".join(f"hỏi {i},đáp {i}\n" for i in range(7)))
    write(tmp_path, "v.jsonl", lines(rows(5, start=100)))
    with pytest.raises(DatasetError, match="column 'input' is missing"):
        prepare(tmp_path, train=["a.jsonl"], test=["t.csv"])
    write(tmp_path, "t.csv", "input,output\n" + "".join(f"hỏi {i},đáp {i}\n" for i in range(7)))
    data = prepare(tmp_path, train=["a.jsonl"], validation=["v.jsonl"], test=["t.csv"])
    assert (data.counts.train, data.counts.validation, data.counts.test) == (40, 5, 7)
    only_test = prepare(tmp_path, train=["a.jsonl"], test=["t.csv"])
    assert only_test.counts.test == 7
    assert only_test.counts.validation > 0


def test_a_copy_in_train_of_a_test_record_leaves_train(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(40)))
    write(tmp_path, "t.jsonl", lines(rows(5)))
    data = prepare(tmp_path, train=["a.jsonl"], test=["t.jsonl"])
    assert data.counts.test == 5
    assert data.dropped.duplicate == 5
    assert not ids(data)["train"] & ids(data)["test"]


def test_an_input_in_two_splits_is_a_leak_with_both_places(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(40)))
    write(tmp_path, "t.jsonl", lines([*rows(5, start=90), {"input": "câu hỏi 3", "output": "khác"}]))
    with pytest.raises(DatasetError) as caught:
        prepare(tmp_path, train=["a.jsonl"], test=["t.jsonl"])
    base = f"file://{tmp_path}"
    assert caught.value.reason == "DatasetLeak"
    assert caught.value.path == f"{base}/t.jsonl:6"
    assert f"1 input stands in two splits: {base}/a.jsonl:4 and {base}/t.jsonl:6" in str(caught.value)


def test_a_copy_across_splits_is_a_leak_where_copies_stay(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(40)))
    write(tmp_path, "t.jsonl", lines(rows(8)))
    with pytest.raises(DatasetError, match=r"8 inputs stand in two splits.* and 3 more"):
        prepare(tmp_path, train=["a.jsonl"], test=["t.jsonl"], dedupe={"exact": False})


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


def test_very_small_sets_still_fill_each_split(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", lines(rows(3)))
    data = prepare(tmp_path, train=["a.jsonl"])
    assert (data.counts.train, data.counts.validation, data.counts.test) == (1, 1, 1)
    write(tmp_path, "a.jsonl", lines(rows(2)))
    with pytest.raises(DatasetError, match=r"the (test|validation) split is empty: 2 usable records") as caught:
        prepare(tmp_path, train=["a.jsonl"])
    assert caught.value.reason == "EmptyDataset"


def test_labels_are_collected_sorted_and_counted(tmp_path: Path) -> None:
    texts = "".join(f"câu {i},{'giao hàng' if i % 2 else 'đổi trả'} \n" for i in range(100))
    write(tmp_path, "a.csv", "text,label\n" + texts)
    data = prepare(tmp_path, CLASSIFICATION, train=["a.csv"], split={"stratifyBy": "label"})
    assert data.labels == ("giao hàng", "đổi trả")
    assert data.label_counts["giao hàng"] == {"train": 40, "validation": 5, "test": 5}
    assert {record.label for record in data.train} == set(data.labels)
    assert data.train[0].answer == data.train[0].label


def test_declared_labels_are_a_closed_set_in_their_order(tmp_path: Path) -> None:
    task = {**CLASSIFICATION, "labels": ["yes", "no", "never seen"]}
    write(tmp_path, "a.csv", "text,label\n" + "".join(f"t{i},{'YES' if i % 2 else 'no'}\n" for i in range(60)))
    data = prepare(tmp_path, task, train=["a.csv"])
    assert data.labels == ("yes", "no", "never seen")
    assert {record.label for record in everything(data)} == {"yes", "no"}
    assert "label 'never seen' has no record in train and test" in data.warnings
    write(tmp_path, "b.csv", "text,label\na,yes\nb,maybe\n")
    with pytest.raises(
        DatasetError, match=r"b.csv:3: label: the label is not one of task.labels \(yes, no, never seen\)"
    ):
        prepare(tmp_path, task, train=["b.csv"])


def test_pinned_labels_close_the_set_for_the_train_child(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "text,label\n" + "".join(f"t{i},{'a' if i % 2 else 'b'}\n" for i in range(60)))
    request = a_request(tmp_path, CLASSIFICATION, train=["a.csv"])
    digest = prepare_dataset(request, tmp_path / "run").digest
    pinned = Pinned(dataset_digest=digest, base_revision="sha256:0", labels=("b", "a"))
    data = prepare_dataset(request.model_copy(update={"pinned": pinned}), tmp_path / "run")
    assert data.labels == ("b", "a")


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("text,label\n" + "".join(f"t{i},same\n" for i in range(60)), "all records have the same label, ['same']"),
        (
            "text,label\n" + "".join(f"t{i},{'A' if i % 2 else 'a'}\n" for i in range(60)),
            "'A' and 'a' differ only in case",
        ),
        ("text,label\n" + "".join(f"t{i},{i}\n" for i in range(1100)), "more than 1024 different labels"),
        ("text,label\n" + "".join(f"t{i},{'x' * 129}\n" for i in range(3)), "a label of 129 characters"),
        ("text,label\nt1, \nt2,b\n", "a.csv:2: label: the label is empty"),
    ],
)
def test_label_sets_that_no_classifier_can_be_built_on_are_refused(tmp_path: Path, csv: str, message: str) -> None:
    write(tmp_path, "a.csv", csv)
    with pytest.raises(DatasetError) as caught:
        prepare(tmp_path, CLASSIFICATION, train=["a.csv"])
    assert message in str(caught.value)


def test_a_label_that_only_the_test_split_has_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "text,label\n" + "".join(f"t{i},{'a' if i % 2 else 'b'}\n" for i in range(60)))
    write(tmp_path, "t.csv", "text,label\nu1,a\nu2,c\n")
    with pytest.raises(DatasetError, match=r"labels \['c'\] occur in validation or test only"):
        prepare(tmp_path, CLASSIFICATION, train=["a.csv"], test=["t.csv"])


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
