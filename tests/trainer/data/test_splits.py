"""Which records train, validate and test, by what they say; labels; leaks between the sides."""

import json
from pathlib import Path

import pytest

from graft_core.contracts.train_request import Pinned
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.prepare import prepare_dataset
from tests.trainer.data.builders import (
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
