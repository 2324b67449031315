"""A stranger with labelled texts of his own follows docs/user/quickstart.md: its blocks are what is saved and typed here."""

import csv
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.e2e.local_up import BASE, until
from tests.e2e.newcomer import Newcomer
from tests.e2e.pages import blocks_of

pytestmark = pytest.mark.e2e

PAGE = blocks_of("user/quickstart.md")
JOBS = f"{BASE}/finetunejobs"


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    found = Newcomer(tmp_path)
    yield found
    found.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """The whole page up to its endpoint, as it stands."""
    found = Newcomer(tmp_path_factory.mktemp("page"))
    try:
        for name in ("texts.csv", "finetunejob.yaml", "modelrelease.yaml"):
            found.write(name, PAGE[name])
        found.start_up()
        assert "Released" in found.type(PAGE["apply"])
        yield found
    finally:
        found.end()


def test_the_page_needs_ten_lines_each(served: Newcomer) -> None:
    for name in ("finetunejob.yaml", "modelrelease.yaml"):
        assert len(PAGE[name].splitlines()) <= 10, name


def test_the_page_s_requests_are_answered(served: Newcomer) -> None:
    assert '"label":"allergy"' in served.type(PAGE["ask"]).replace(": ", ":")
    served.write("ask.py", PAGE["ask.py"])
    assert served.type("python ask.py") == "allergy\n"


def test_the_stock_client_streams_from_the_endpoint(served: Newcomer) -> None:
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{served.port}/default/my-texts/v1", api_key="-", max_retries=0)
    stream = client.chat.completions.create(
        model="my-texts",
        messages=[{"role": "user", "content": "The driver never rang the bell"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    with stream:
        chunks = list(stream)
    told = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in told) == "delivery"
    assert told[0].delta.role == "assistant"
    assert [choice.finish_reason for choice in told if choice.finish_reason] == ["stop"]
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens > 0


def test_several_texts_are_classified_in_one_request_also_on_plain_v1(served: Newcomer) -> None:
    texts = ["Is there egg in the brioche?", "I want to order nine baguettes", "Where is my delivery?"]
    for prefix in ("", "/default/my-texts"):
        answer = httpx.post(
            f"http://127.0.0.1:{served.port}{prefix}/v1/classify", json={"input": texts}, trust_env=False, timeout=60
        )
        assert answer.status_code == 200, answer.text
        assert [result["label"] for result in answer.json()["results"]] == ["allergy", "order", "delivery"]


def test_a_second_up_on_the_folder_is_refused_with_the_pid_of_the_first(served: Newcomer) -> None:
    assert served.up is not None
    said = served.type(f"{PAGE['up']}", is_fine=False)
    assert f"another `graft up` (pid {served.up.pid}) runs on the state folder" in said


def test_own_texts_train_through_a_ctrl_c_and_are_served(newcomer: Newcomer) -> None:
    (newcomer.folder / "texts.csv").write_bytes(letters(120))
    for name in ("finetunejob.yaml", "modelrelease.yaml"):
        newcomer.write(name, PAGE[name])
    newcomer.start_up()
    newcomer.type("graft apply -f finetunejob.yaml -f modelrelease.yaml")
    until(lambda: step_of(newcomer) >= 4, 600, newcomer.log)
    assert newcomer.press_ctrl_c() == 0, newcomer.log()
    newcomer.start_up()
    newcomer.type("graft wait ftj/my-texts --for=condition=Complete --timeout=15m")
    status = newcomer.client.call("GET", f"{JOBS}/my-texts")["status"]
    newest = status["attempts"][-1]
    assert (len(status["attempts"]), newest["reason"]) == (2, "Preempted"), status["attempts"]
    assert newest["resumedFromStep"] >= 4
    assert sum(status["dataset"]["records"].values()) == 120
    newcomer.type("graft wait mr/my-texts --for=condition=Released --timeout=10m")
    asked = "curl -sf localhost:8080/v1/classify -H 'content-type: application/json' -d '{\"input\": \"%s\"}'"
    assert "renewal" in newcomer.type(asked % "May I keep the atlas for two more weeks, please?")


MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "misspelt field": ({"trainning": {"epochs": 2}}, ["finetunejob.yaml", "FineTuneJob/my-texts", "spec.trainning"]),
    "misspelt field further down": (
        {"training": {"epochs": 12, "learningrate": "2e-3"}},
        ["spec.training.learningrate"],
    ),
    "number out of range": ({"training": {"epochs": 0}}, ["spec.training.epochs", "0"]),
}


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """A `graft up` for those who make mistakes."""
    found = Newcomer(tmp_path_factory.mktemp("wrong"))
    try:
        found.write("texts.csv", PAGE["texts.csv"])
        found.start_up()
        yield found
    finally:
        found.end()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_file_with_a_mistake_is_refused_by_field_and_changes_nothing(mistaken: Newcomer, mistake: str) -> None:
    spec, told = MISTAKES[mistake]
    mistaken.write("finetunejob.yaml", a_job(spec=spec))
    mistaken.write("modelrelease.yaml", PAGE["modelrelease.yaml"])
    said = mistaken.type("graft apply -f finetunejob.yaml -f modelrelease.yaml", is_fine=False)
    for words in told:
        assert words in said
    assert "Traceback" not in said
    assert "No resources found" in mistaken.type("graft get")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            {"sweep": {"parameters": {"epochs": ["2", "4"]}}},
            ["NotSupported", "spec.sweep is not supported in this version"],
        ),
        (
            {"evaluation": {"gates": [{"metric": "acuracy", "min": "0.7"}]}},
            ["InvalidSpec", "spec.evaluation.gates[0].metric: 'acuracy' is not measured", "expected one of accuracy,"],
        ),
    ],
    ids=["a field that is not built yet", "a metric that there is not"],
)
def test_what_can_not_be_done_is_refused_by_name_and_nothing_is_started(
    mistaken: Newcomer, spec: dict[str, Any], told: list[str]
) -> None:
    mistaken.write("job.yaml", a_job("undoable", spec=spec))
    mistaken.type("graft apply -f job.yaml")
    said = mistaken.type("graft wait ftj/undoable --for=condition=Complete --timeout=5m", is_fine=False)
    for words in told:
        assert words in said
    assert mistaken.client.call("GET", "/status")["children"] == []
    mistaken.type("graft delete ftj/undoable")


def test_a_bad_line_is_named_and_nothing_is_trained(mistaken: Newcomer) -> None:
    lines = PAGE["texts.csv"].splitlines()
    lines[30] = lines[30].rpartition(",")[0] + ","
    mistaken.write("bad.csv", "\n".join(lines) + "\n")
    mistaken.write("bad.yaml", a_job("bad-line", spec={"dataset": {"train": ["file:./bad.csv"]}}))
    mistaken.type("graft apply -f bad.yaml")
    said = mistaken.type("graft wait ftj/bad-line --for=condition=Complete --timeout=5m", is_fine=False)
    assert "InvalidDataset" in said
    assert "bad.csv:31" in said
    assert [child["role"] for child in mistaken.client.call("GET", "/status")["children"]] == ["check"]
    mistaken.type("graft delete ftj/bad-line")


def test_a_path_that_is_not_there_is_named(mistaken: Newcomer) -> None:
    mistaken.write("path.yaml", a_job("no-file", spec={"dataset": {"train": ["file:./text.csv"]}}))
    said = mistaken.type(
        "graft apply -f path.yaml && graft wait ftj/no-file --for=condition=Complete --timeout=5m", is_fine=False
    )
    assert "text.csv" in said
    assert "Traceback" not in said
    mistaken.type("graft delete ftj/no-file --ignore-not-found")


def a_job(name: str = "my-texts", *, spec: dict[str, Any]) -> str:
    """Take the page's job, with some of its spec replaced."""
    body = yaml.safe_load(PAGE["finetunejob.yaml"])
    body["metadata"]["name"] = name
    body["spec"] |= spec
    return yaml.safe_dump(body)


def letters(count: int) -> bytes:
    """Write letters to a library as a spreadsheet would: byte order mark, quoted commas, a column of no interest, Windows line ends."""
    dice = random.Random(3)
    books = ("the atlas", "two novels", "a cookbook", "the red dictionary", "my guide to birds")
    said = {
        "renewal": (
            "May I keep {} for longer, please?",
            "I would like to renew {}",
            "Can I extend the loan of {}, again?",
        ),
        "fine": (
            "Why do I owe money for {}?",
            "The late fee for {}, 4 euros, is wrong",
            "How do I pay the fine for {}?",
        ),
        "event": (
            "Is the reading about {} still on tonight?",
            "Which day is the children's hour with {}, and what does it cost?",
            "I want two seats for the evening talk on {}",
        ),
    }
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(["id", "sentence", "category"])
    for number in range(count):
        label = list(said)[number % len(said)]
        text = dice.choice(said[label]).format(dice.choice(books))
        rows.writerow([number, f"{text} (card {number + 1000}, {dice.choice(('Ana', 'Minh', 'Jo'))})", label])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def step_of(newcomer: Newcomer) -> int:
    status = newcomer.client.call("GET", f"{JOBS}/my-texts")["status"]
    assert status.get("phase") not in {"Succeeded", "Failed", "GatesFailed"}, status
    return int(status.get("progress", {}).get("step", 0))
