import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft_core.api.v1alpha1.dataset import DatasetFormat
from graft_core.api.v1alpha1.task import TaskSpec
from graft_trainer.config import DataLimits
from graft_trainer.data.formats import choose_layout
from graft_trainer.data.lines import LinePiece, LineReader
from graft_trainer.data.shape import Shaper, ShaperSpec
from graft_trainer.data.sight import Sight, measure
from tests.trainer.data.builders import CHAT, CLASSIFICATION, TEXT_TO_JSON, lines, rows

WIDE: dict[str, Any] = {
    "type": "text-to-json",
    "outputSchema": {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "string"},
            "b%b": {"type": "integer"},
            "c": {"type": "number"},
            "d": {"type": "null"},
        },
    },
}
LIMITS = DataLimits(record_bytes=400)

PLAIN = st.text("ab đỏ€😀:,{}", min_size=1, max_size=8)
TEXTS = st.one_of(
    PLAIN,
    PLAIN,
    PLAIN,
    st.text("ab đỏ€😀\u3000\xa0\u2028{}:,%\\\"'\x7f", max_size=12),
    st.sampled_from(["", " ", "\u3000", "\u1680", "ắc", "Ô", "\x00", "\n", "\x1f", "a" * 500, 'x": 1', "<|im_start|>"]),
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.sampled_from([0, -1, 2**63, 10**18]), st.floats(), st.sampled_from([0.5, 1e300])
)
SCALARS = st.one_of(TEXTS, st.booleans(), st.none(), NUMBERS)


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields)


WIDE_ANSWERS = st.one_of(
    objects(a=TEXTS, **{"b%b": st.integers(-5, 5)}, c=st.one_of(st.integers(), st.floats()), d=st.none()),
    objects(d=st.none(), c=st.integers(0, 9), a=TEXTS, **{"b%b": st.booleans()}),
    SCALARS,
)
CASES: list[tuple[dict[str, Any], str | None, tuple[str, ...], st.SearchStrategy[dict[str, Any]]]] = [
    (CHAT, None, ("input", "output"), objects(input=TEXTS, output=TEXTS)),
    (CHAT, None, ("input", "output"), objects(output=TEXTS, extra=SCALARS, input=TEXTS)),
    (CHAT, None, ("instruction", "input", "output"), objects(instruction=TEXTS, input=TEXTS, output=TEXTS)),
    (
        TEXT_TO_JSON,
        None,
        ("query", "output"),
        objects(query=TEXTS, output=objects(keyword=TEXTS, is_in_scope=st.booleans())),
    ),
    (
        TEXT_TO_JSON,
        "is_in_scope",
        ("query", "output"),
        objects(
            query=TEXTS,
            output=objects(is_in_scope=st.booleans(), keyword=SCALARS),
            nested=st.one_of(SCALARS, SCALARS, st.lists(SCALARS)),
        ),
    ),
    (WIDE, "a", ("input", "output"), objects(input=TEXTS, output=WIDE_ANSWERS)),
    (
        {**CLASSIFICATION, "labels": ["đỏ", "xanh", "3", "true"]},
        None,
        ("text", "label"),
        objects(text=TEXTS, label=st.one_of(st.sampled_from(["đỏ", " ĐỎ", "xanh", "tím", "", 3, 4, True]), SCALARS)),
    ),
    (CLASSIFICATION, None, ("text", "label"), objects(label=st.sampled_from(["a", " a", 1, -2]), text=TEXTS)),
    (
        {"type": "chat", "template": "{{ zeta }} {{ alpha }}"},
        None,
        ("zeta", "alpha", "output"),
        objects(zeta=TEXTS, output=TEXTS, alpha=TEXTS),
    ),
]
POISON = [b"\t", b"\r", b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80"]
"""Any of these sends a whole piece to the parser."""
MUTANTS = [
    b"\\",
    b'"',
    b" ",
    b"\xef\xbb\xbf",
    b":",
    b",",
    b"}",
    b"{",
    b"NaN",
    b"-",
    b"0",
    b"9" * 25,
    b"\\ud800",
    b'"a" :1,',
    b'"keyword": "x", ',
    b'"query" : "y",',
    b'"output":{},',
]


@st.composite
def files(draw: st.DrawFn, records: st.SearchStrategy[dict[str, Any]]) -> bytes:
    separators = draw(st.sampled_from([(", ", ": "), (",", ":"), (",", ":"), (" , ", " : ")]))
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n"]))
    mutants = [b"", *MUTANTS, *(POISON if draw(st.integers(0, 5)) == 0 else ())]
    found: list[bytes] = []
    for record in draw(st.lists(records, min_size=2, max_size=6)):
        is_ascii = draw(st.integers(0, 5)) == 0
        line = json.dumps(record, ensure_ascii=is_ascii, separators=separators).encode()
        # The same once more: what the first is learned from is what the second is told by.
        found += [line, line][draw(st.integers(0, 1)) :]
        if draw(st.integers(0, 2)) == 0:
            at, cut = draw(st.integers(0, len(line))), draw(st.integers(0, 2))
            found.append(line[:at] + draw(st.sampled_from(mutants)) + line[at + cut :])
    return end.join(found) + draw(st.sampled_from([end, b"", b"\n\n"]))


def a_shaper(task: dict[str, Any], by: str | None, columns: Iterable[str]) -> Shaper:
    spec = TaskSpec.model_validate(task)
    layout = choose_layout(spec, DatasetFormat.AUTO, [tuple(columns)])
    return Shaper(ShaperSpec(spec, layout, spec.labels or (), by, LIMITS))


def both_ways(path: Path, data: bytes, shaper: Shaper) -> tuple[list[Any], list[Any]]:
    path.write_bytes(data)
    readers = [LineReader(path, LinePiece(0, len(data)), LIMITS) for _ in range(2)]
    quick = list(readers[0].examples(shaper))
    slow = list(readers[1]._walk(shaper.shape, None))
    assert readers[0].lines == readers[1].lines
    return quick, slow


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_is_told_by_sight_is_what_the_parser_says(case: int, tmp_path: Path) -> None:
    task, by, columns, records = CASES[case]
    shaper = a_shaper(task, by, columns)

    @settings(max_examples=40)
    @given(files(records))
    def check(data: bytes) -> None:
        quick, slow = both_ways(tmp_path / "a.jsonl", data, shaper)
        assert quick == slow

    check()


GOOD: list[dict[str, Any]] = [
    {"input": "ab đ", "output": "c"},
    {"output": "c", "extra": 1.5, "input": "ắ"},
    {"instruction": "a", "input": "b", "output": "c"},
    {"query": "a b", "output": {"keyword": "đ", "is_in_scope": True}},
    {"query": "q", "output": {"is_in_scope": False, "keyword": ""}, "nested": None},
    {"input": "i", "output": {"a": "x", "b%b": 12, "c": 3, "d": None}},
    {"text": "t", "label": " ĐỎ"},
    {"label": 1, "text": "t"},
    {"zeta": "z", "output": "o", "alpha": "%b"},
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_good_line_with_any_one_fault_is_taken_as_the_parser_takes_it(case: int, tmp_path: Path) -> None:
    task, by, columns, _ = CASES[case]
    good = json.dumps(GOOD[case], ensure_ascii=False).encode()
    found = [good, good]
    for at in range(len(good) + 1):
        for cut in range(3):
            found += [good[:at] + mutant + good[at + cut :] for mutant in (b"", *MUTANTS)]
    # Half a character would send all of them to the parser; those that are left have one each.
    whole = [line for line in found if line.decode(errors="ignore").encode() == line]
    quick, slow = both_ways(tmp_path / "a.jsonl", b"\n".join(whole), a_shaper(task, by, columns))
    assert quick == slow
    assert quick[1] == (2, *quick[0][1:])
    assert len({fault for _, _, fault in quick}) > 5
    broken = [line for line in found if line not in whole]
    for line in broken[:: max(1, len(broken) // 20)]:
        quick, slow = both_ways(tmp_path / "a.jsonl", b"\n".join([good, line, good]), a_shaper(task, by, columns))
        assert quick == slow


@pytest.mark.parametrize(
    ("task", "columns", "records"),
    [
        (CHAT, ("input", "output"), rows(20)),
        (CHAT, ("input", "output"), [{**row, "id": i, "score": i / 4} for i, row in enumerate(rows(20))]),
        (CLASSIFICATION, ("text", "label"), [{"text": f"câu {i}", "label": i % 3} for i in range(20)]),
        (
            TEXT_TO_JSON,
            ("query", "output"),
            [{"query": f"q{i}", "output": {"is_in_scope": i % 2 == 0, "keyword": "đỏ"}} for i in range(20)],
        ),
    ],
)
def test_lines_alike_are_told_by_sight_but_the_first(task: dict[str, Any], columns: Any, records: Any) -> None:
    shaper = a_shaper(task, None, columns)
    sight = Sight(shaper)
    data = lines(records).encode()
    sight.learn(data.splitlines()[0], records[0])
    at = 0
    for record in records:
        end = data.index(b"\n", at)
        assert sight.tell(data, at, end, len(data[at : end + 1].decode())) == shaper.shape(record)
        at = end + 1


def test_lines_of_several_kinds_are_learned_up_to_a_few() -> None:
    sight = Sight(a_shaper(CHAT, None, ("input", "output")))
    for i in range(40):
        record = {**rows(1)[0], f"extra {i}": 1}
        sight.learn(lines([record]).encode()[:-1], record)
    assert len(sight._tells) == 4


def test_no_text_that_is_white_space_is_told_by_sight() -> None:
    sight = Sight(a_shaper(CHAT, None, ("input", "output")))
    sight.learn(lines(rows(1)).encode()[:-1], rows(1)[0])
    for i in range(sys.maxunicode + 1):
        if chr(i).isspace() and i >= 32:
            line = json.dumps({"input": chr(i), "output": "a"}, ensure_ascii=False).encode()
            assert sight.tell(line, 0, len(line), len(line.decode())) is None


LONG = "đ" * 10


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (f"{LONG}{LONG}\n{LONG}", [21, 11]),
        (f"{LONG}ab\r\n{LONG}\r\n", [14, 12]),
        (f"{LONG}\n" * 9000, [11] * 9000),
        (f"{LONG}\r{LONG}\n", []),
        (f"{LONG}\t{LONG}\n", []),
        (f"{LONG}\x00", []),
        ("a\n" * 9, []),
    ],
)
def test_control_characters_and_short_lines_send_a_piece_to_the_parser(text: str, counts: list[int]) -> None:
    assert measure(text.encode()).tolist() == counts


def test_bytes_that_are_no_text_send_a_piece_to_the_parser() -> None:
    for broken in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc3\nd"):
        assert not len(measure(b"a" * 20 + broken + b"b" * 40))
