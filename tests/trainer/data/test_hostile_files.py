"""Files as nobody should write them: each is refused or handled, by file, line and reason, never with a record's text."""

import gzip
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graft_trainer.config import DataLimits
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.prepare import prepare_dataset
from tests.trainer.data.builders import (
    GOOD,
    a_request,
    everything,
    lines,
    prepare,
    refusal,
    rows,
    write,
)


def test_zero_bytes_are_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a.jsonl", "")
    assert error.reason == "EmptyDataset"
    assert "spec.dataset.train[0]" in str(error)
    assert "has 0 bytes" in str(error)
    assert "holds no record" in str(refusal(tmp_path, "b.jsonl", "\n \n\r\n"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "hello\n", "a.jsonl:1: not JSON"),
        ("a.jsonl", "[" + ",\n".join(GOOD.splitlines()) + "]", "is a JSON array, not JSON Lines"),
        ("a.jsonl", GOOD + '{"input": "a", "output": "b",}\n', "a.jsonl:31: not JSON: trailing comma"),
        ("a.jsonl", GOOD + '{"input": "a", "output": "b"},\n', "a.jsonl:31: trailing comma"),
        ("a.jsonl", GOOD + '{"input": NaN, "output": "b"}\n', "a.jsonl:31: not JSON"),
        ("a.jsonl", GOOD + '"text"\n', "a.jsonl:31: expected an object with columns, got a text"),
        ("a.json", "[" + ",\n".join(GOOD.splitlines()) + ",]", "a.json:30: trailing comma behind the last record"),
        ("a.json", "[" + ",\n".join(GOOD.splitlines()), "a.json:30: the file ends within the array"),
        ("a.json", '[\n{"input": "a"\n"output": "b"}]', "a.json:3: not JSON"),
        ("a.json", "[1]\n[2]", "a.json:2: text behind the end of the array"),
        ("a.json", "[1 2]", "a.json:1: expected ',' or ']' behind a record"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", "[]", "holds no record"),
        ("a.csv", 'input,output\n"a,b\n', "a.csv:2: not CSV: unexpected end of data"),
        ("a.csv", "input,output\na,b,c\nd\n", "a.csv:2: 3 cells, but the header has 2 columns"),
        ("a.csv", "input,,output\na,b,c\n", "a.csv:1: the first line must name all columns"),
        ("a.csv", "input,output,input\na,b,c\n", "a.csv:1: the header names column 'input' twice"),
    ],
)
def test_what_is_not_the_format_is_refused_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    assert message in str(refusal(tmp_path, name, content))


def test_a_json_array_is_read_with_the_lines_its_records_begin_on(tmp_path: Path) -> None:
    write(tmp_path, "a.json", json.dumps(rows(30), indent=1))
    assert [record.line for record in everything(prepare(tmp_path, train=["a.json"]))][:3] == [2, 6, 10]
    write(tmp_path, "b.json", GOOD)
    assert everything(prepare(tmp_path, train=["b.json"]))[29].line == 30


def test_an_array_too_large_to_decode_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.json", json.dumps(rows(30)))
    request = a_request(tmp_path, train=["a.json"])
    with pytest.raises(DatasetError, match="over 100 bytes, write JSON Lines"):
        prepare_dataset(request, tmp_path / "run", limits=DataLimits(json_array_bytes=100))
    with pytest.raises(DatasetError, match=r"a.json:1: 65 bytes; at most 20 fit"):
        prepare_dataset(request, tmp_path / "run", limits=DataLimits(record_bytes=20))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.encode("utf-16"), "is UTF-16; convert it to UTF-8"),
        (GOOD.encode("utf-16-le"), "has a NUL at byte 2"),
        (GOOD.encode() + b'{"input": "\xff\xfe", "output": "b"}\n', "a.jsonl:31: not valid UTF-8 at byte 12"),
        (GOOD + '{"input": "\\ud800", "output": "b"}\n', "a.jsonl:31: half of a surrogate pair at column"),
        (GOOD + '{"input": "a\\u0000b", "output": "b"}\n', "a.jsonl:31: a text holds NUL"),
        (GOOD + '{"input": "a", "output": "b\\u0000"}\n', "a.jsonl:31: a text holds NUL"),
        (GOOD * 100 + '{"input": "a\x00b", "output": "b"}\n', "byte 13 is NUL"),
    ],
)
def test_broken_encodings_are_refused_with_their_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in str(refusal(tmp_path, "a.jsonl", content))


def test_text_that_only_looks_like_nul_is_kept(tmp_path: Path) -> None:
    odd = {"input": "in JSON, NUL is \\u0000", "output": "\\u0000"}
    write(tmp_path, "a.jsonl", GOOD + lines([odd]))
    assert everything(prepare(tmp_path, train=["a.jsonl"]))[30].answer == "\\u0000"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"\xef\xbb\xbf" + GOOD.encode()),
        ("a.jsonl", GOOD.replace("\n", "\r\n")),
        ("a.jsonl", GOOD.rstrip("\n")),
        ("a.jsonl", GOOD.replace("\n", "\n\n \n")),
        ("a.json", b"\xef\xbb\xbf" + json.dumps(rows(30)).encode()),
        (
            "a.csv",
            b"\xef\xbb\xbfinput,output\r\n" + "".join(f"câu hỏi {i},trả lời {i}\r\n" for i in range(30)).encode(),
        ),
        ("a.csv", "input;output\n" + "".join(f"câu hỏi {i};trả lời {i}\n\n" for i in range(30))),
        ("a.tsv", "input\toutput\n" + "".join(f"câu hỏi {i}\ttrả lời {i}\n" for i in range(30))),
    ],
)
def test_marks_line_ends_and_blank_lines_change_no_record(tmp_path: Path, name: str, content: str | bytes) -> None:
    write(tmp_path, name, content)
    found = everything(prepare(tmp_path, train=[name]))
    assert {record.answer for record in found} == {f"trả lời {i}" for i in range(30)}
    assert len(found) == 30


def test_csv_lines_count_through_cells_of_several_lines(tmp_path: Path) -> None:
    cells = "".join(f'"câu\nhỏi {i}",đáp {i}\n' for i in range(30))
    error = refusal(tmp_path, "a.csv", "input,output\n" + cells + 'x," "\n')
    assert error.path.endswith("a.csv:62")
    assert "output: the answer is empty" in str(error)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_line_without_end_is_told_without_being_held(tmp_path: Path, name: str) -> None:
    head = "input,output\n" if name == "a.csv" else GOOD
    (tmp_path / name).write_bytes(head.encode() + b"x" * 100_000 + b"\n")
    request = a_request(tmp_path, train=[name])
    with pytest.raises(DatasetError, match="a line over 4096 bytes") as caught:
        prepare_dataset(request, tmp_path / "run", limits=DataLimits(record_bytes=4096, piece_bytes=8192))
    assert caught.value.path.endswith(":2" if name == "a.csv" else ":31")


def test_a_cell_whose_quote_is_never_closed_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'input,output\na,b\n"' + b"c,d\n" * 10_000)
    with pytest.raises(DatasetError, match=r"a.csv:3: a cell over 4096 bytes; is a quote left open"):
        prepare_dataset(a_request(tmp_path, train=["a.csv"]), tmp_path / "run", limits=DataLimits(record_bytes=4096))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ('{"input": ' + "[" * 100_000 + "]" * 100_000 + ', "output": "b"}', "nested too deeply"),
        ('{"input": ' + "[" * 40 + "]" * 40 + ', "output": "b"}', "nested too deeply"),
        ('{"input": ' + '{"a":' * 40 + "1" + "}" * 40 + ', "output": "b"}', "nested too deeply"),
        ("{" + ",".join(f'"k{i}":1' for i in range(100_000)) + "}", "100000 keys; at most 4096"),
        ('{"input": "a", "output": 123456789012345678901234567890}', "beyond 64 bits"),
        ('{"input": "a", "output": {"n": 1e30}}', "beyond 64 bits"),
        ('{"input": "a", "output": 1e400}', "number is infinity"),
        ('{"input": "a", "output": ' + "9" * 10_000 + "}", "number is infinity"),
        ('{"input": "a", "input": "b", "output": "c"}', "an object has the same key twice"),
        ('{"input": "a", "input" : "b", "output": "c"}', "an object has the same key twice"),
        ('{"input": "a", "output": {"x" \t: 1, "x": 2}}', "an object has the same key twice"),
    ],
)
def test_values_out_of_bounds_are_refused(tmp_path: Path, record: str, message: str) -> None:
    error = refusal(tmp_path, "a.jsonl", GOOD + record + "\n")
    assert error.path.endswith("a.jsonl:31")
    assert message in str(error)


def a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../a.jsonl", GOOD)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", gzip.compress(GOOD.encode()), "is gzip data named .jsonl"),
        ("a.csv", a_zip(), "is zip data named .csv"),
        ("a.parquet", b"BZh91AY", "is bzip2 data named .parquet"),
        ("a.jsonl", b"PAR1xxxxPAR1", "is Parquet data, but is named .jsonl"),
        ("a.parquet", GOOD.encode(), "is no Parquet file"),
        ("a.jsonl.gz", gzip.compress(GOOD.encode()), "compressed files are not supported"),
        ("a.txt", GOOD.encode(), "does not end in .csv, .json, .jsonl, .ndjson, .parquet, .tsv"),
    ],
)
def test_disguised_and_compressed_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    assert message in str(refusal(tmp_path, name, content))


def a_parquet(folder: Path, name: str, table: dict[str, Any]) -> bytes:
    pq.write_table(pa.table(table), folder / name)
    return (folder / name).read_bytes()


def test_parquet_is_read_by_row(tmp_path: Path) -> None:
    turns = [[{"role": "user", "content": f"hỏi {i}"}, {"role": "assistant", "content": "đáp"}] for i in range(2000)]
    a_parquet(tmp_path, "a.parquet", {"messages": turns, "when": pa.array([None] * 2000, pa.timestamp("s"))})
    data = prepare(tmp_path, train=["a.parquet"])
    assert everything(data)[1500].line == 1501


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": ["x"], "b": ["y"]}, "auto knows no layout with the columns ['a', 'b']"),
        ({"input": [b"x"], "output": ["y"]}, "column 'input' is of type binary"),
        ({"input": ["x"], "output": pa.array([0], pa.timestamp("ms"))}, "column 'output' is of type timestamp[ms]"),
        (
            {"input": ["x", None], "output": ["y", "z"]},
            "a.parquet:2: column 'input' (the input) must be a text, got null",
        ),
        (
            {"messages": [[{"role": "user", "content": None}, {"role": "assistant", "content": "b"}]]},
            "a.parquet:1: messages[0].content: expected a text",
        ),
        ({"messages": [[None]]}, "a.parquet:1: messages[0]: expected an object"),
        ({"input": ["x"], "output": pa.array([2**63], pa.uint64())}, "beyond 64 bits"),
    ],
)
def test_parquet_with_the_wrong_schema_or_nulls_is_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    assert message in str(refusal(tmp_path, "a.parquet", a_parquet(tmp_path, "a.parquet", table)))


def test_parquet_that_is_cut_off_or_damaged_is_refused(tmp_path: Path) -> None:
    whole = a_parquet(tmp_path, "a.parquet", {"input": [f"x{i}" for i in range(5000)], "output": ["y"] * 5000})
    assert "not a complete Parquet file" in str(refusal(tmp_path, "b.parquet", whole[:-20]))
    broken = bytearray(whole)
    broken[4:200] = os.urandom(196)
    assert "Parquet" in str(refusal(tmp_path, "c.parquet", bytes(broken)))


def test_parquet_texts_that_are_not_utf8_spoil_their_own_row(tmp_path: Path) -> None:
    raw = pa.array([b"a", b"\xff", b"c"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    bad = a_parquet(tmp_path, "a.parquet", {"input": text, "output": ["x", "y", "z"]})
    assert "a.parquet:2: a text is not valid UTF-8" in str(refusal(tmp_path, "a.parquet", bad))


def test_every_script_and_sign_comes_back_byte_for_byte(tmp_path: Path) -> None:
    texts = [
        "مرحبا \u202eעולם\u202c",
        "a\u200bb\u200d",
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "e\u0301 vs é",
        "中文 tiếng Việt",
        "tab\tline\nend\r",
    ]
    write(tmp_path, "a.jsonl", lines({"input": text, "output": f" {text} "} for text in texts * 1) + GOOD)
    found = everything(prepare(tmp_path, train=["a.jsonl"]))[: len(texts)]
    assert [(record.fields["input"], record.answer) for record in found] == [(text, f" {text} ") for text in texts]


def test_a_missing_shard_and_a_wildcard_are_refused_by_their_field(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", GOOD)
    with pytest.raises(DatasetError, match=r"spec.dataset.train\[1\]: .*b.jsonl' does not exist"):
        prepare(tmp_path, train=["a.jsonl", "b.jsonl"])
    with pytest.raises(DatasetError, match=r"spec.dataset.train\[0\]: .* has a wildcard"):
        prepare(tmp_path, train=["*.jsonl"])
    with pytest.raises(DatasetError, match=r"spec.dataset.test\[0\]: .* is spec.dataset.train\[0\] already"):
        prepare(tmp_path, train=["a.jsonl"], test=["a.jsonl"])
    (tmp_path / "d.jsonl").mkdir()
    with pytest.raises(DatasetError, match="is not a file"):
        prepare(tmp_path, train=["d.jsonl"])


def test_more_shards_than_a_spec_may_name_are_refused_before_any_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 64"):
        a_request(tmp_path, train=[f"{i}.jsonl" for i in range(100_000)])


def test_many_shards_of_one_row_are_one_data_set(tmp_path: Path) -> None:
    names = [write(tmp_path, f"{i}.jsonl", lines(rows(1, start=i))) for i in range(64)]
    assert len(everything(prepare(tmp_path, train=names))) == 64


def test_links_and_dots_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    write(outside, "a.jsonl", GOOD)
    (inside / "a.jsonl").symlink_to(outside / "a.jsonl")
    with pytest.raises(DatasetError, match="symbolic link that leaves its folder"):
        prepare(inside, train=["a.jsonl"])
    with pytest.raises(DatasetError, match=r"must not contain '\.\.'"):
        prepare(tmp_path, train=[f"file://{inside}/%2e%2e/out/a.jsonl"])
    # As mounted ConfigMaps do it.
    (inside / "..data").mkdir()
    write(inside / "..data", "b.jsonl", GOOD)
    (inside / "b.jsonl").symlink_to("..data/b.jsonl")
    assert len(everything(prepare(inside, train=["b.jsonl"]))) == 30


def test_a_csv_cell_that_is_not_utf8_spoils_its_own_row(tmp_path: Path) -> None:
    cells = b"".join(b"c%d,d\n" % i for i in range(120))
    write(tmp_path, "a.csv", b"input,output\n" + cells + b'"x\n\xff",d\n' + b"last,d\n")
    data = prepare(tmp_path, train=["a.csv"], onInvalidRecord="skip")
    assert data.dropped.invalid == 1
    assert str(data.problems[0]).endswith("a.csv:122: a cell is not valid UTF-8")
    assert len(everything(data)) == 121


def test_a_bad_element_of_an_array_spoils_only_itself(tmp_path: Path) -> None:
    elements = [json.dumps(record) for record in rows(120)]
    write(tmp_path, "a.json", "[" + ",\n".join([*elements, '{"input": "a", "input": "b", "output": "c"}']) + "]")
    data = prepare(tmp_path, train=["a.json"], onInvalidRecord="skip")
    assert [str(problem).rpartition("a.json:")[2] for problem in data.problems] == [
        "121: not JSON: an object has the same key twice"
    ]


def test_an_array_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    assert "not valid UTF-8 at byte 4" in str(refusal(tmp_path, "a.json", b'[ "\xff"]'))


def test_a_header_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "a.csv:1: the header cannot be read" in str(refusal(tmp_path, "a.csv", b'"input"x,output\na,b\n'))


def test_parquet_of_several_files_is_read_whatever_its_texts_are_stored_as(tmp_path: Path) -> None:
    texts = pa.array([f"câu {i}" for i in range(30)])
    table = {
        "input": texts.dictionary_encode(),
        "output": pa.array(["đáp"] * 30, pa.large_string()),
        "tags": [["x"]] * 30,
    }
    a_parquet(tmp_path, "a.parquet", table)
    assert everything(prepare(tmp_path, train=["a.parquet"]))[29].fields == {"input": "câu 29"}


def test_a_parquet_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    texts = pa.array(["a", "b"])
    twice = pa.Table.from_arrays([texts, texts, texts], names=["input", "input", "output"])
    pq.write_table(twice, tmp_path / "b.parquet")
    assert "column 'input' is there twice" in str(refusal(tmp_path, "b.parquet", (tmp_path / "b.parquet").read_bytes()))
