"""The committed data is what the generators write, and has the shape that the manifests and READMEs tell."""

import json
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"
MESSAGES = EXAMPLES / "01-classify-messages"
SHOP = EXAMPLES / "02-shop-query-json"
FILES = [
    MESSAGES / "data" / "messages.jsonl",
    MESSAGES / "data" / "messages-mislabelled.jsonl",
    SHOP / "data" / "queries.jsonl",
    SHOP / "data" / "queries-verbose.jsonl",
]


def records(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def script(folder: Path) -> dict[str, Any]:
    return runpy.run_path(str(folder / "generate.py"))


@pytest.mark.parametrize("folder", [MESSAGES, SHOP], ids=lambda f: f.name)
def test_generator_writes_the_committed_bytes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["generate.py", "--out", str(tmp_path)])
    script(folder)["main"]()
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert written == {file.name: file.read_bytes() for file in (folder / "data").iterdir()}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_data_has_a_thousand_records_and_no_input_twice(file: Path) -> None:
    inputs = [record.get("text") or record["input"] for record in records(file)]
    assert len(inputs) >= 1000
    assert len(set(inputs)) == len(inputs)


def test_every_queue_has_as_many_messages_as_any_other() -> None:
    shares = Counter(record["label"] for record in records(FILES[0]))
    assert len(shares) == 8
    assert set(shares.values()) == {150}


def test_half_of_the_mislabelled_messages_lie_under_a_wrong_queue() -> None:
    right, spoilt = records(FILES[0]), records(FILES[1])
    assert [r["text"] for r in right] == [s["text"] for s in spoilt]
    assert sum(r["label"] != s["label"] for r, s in zip(right, spoilt, strict=True)) == len(right) // 2


def test_four_in_a_hundred_queries_are_out_of_scope_and_have_no_keyword() -> None:
    answers = [json.loads(record["output"]) for record in records(FILES[2])]
    outside = [answer for answer in answers if not answer["is_in_scope"]]
    assert len(outside) == round(len(answers) * 0.04)
    assert {answer["keyword"] for answer in outside} == {""}


def test_keyword_is_part_of_the_query_today_and_three_search_phrases_in_the_older_convention() -> None:
    for record in records(FILES[2]):
        assert json.loads(record["output"])["keyword"] in record["input"]
    for record in records(FILES[3]):
        answer = json.loads(record["output"])
        keyword = answer["keyword"].partition(", mua ")[0]
        assert keyword in record["input"]
        assert answer["keyword"] == (f"{keyword}, mua {keyword}, giá {keyword}" if answer["is_in_scope"] else "")


@pytest.mark.parametrize("manifest", sorted(EXAMPLES.glob("*/*.yaml")), ids=lambda f: f"{f.parent.name}/{f.name}")
def test_data_that_a_manifest_names_is_there(manifest: Path) -> None:
    spec = yaml.safe_load(manifest.read_text(encoding="utf-8"))["spec"]
    for uri in spec.get("dataset", {}).get("train", []):
        assert (manifest.parent / uri.removeprefix("file:")).is_file()


@pytest.mark.parametrize("kind", ["finetunejob", "modelrelease"])
def test_the_first_example_is_about_ten_lines(kind: str) -> None:
    assert len((MESSAGES / f"{kind}.yaml").read_text(encoding="utf-8").splitlines()) <= 11
