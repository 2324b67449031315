"""report.html and model_card.md: self-contained, escaped, repeatable."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from graft_core.api.v1alpha1.finetunejob import GateStatus
from graft_core.api.v1alpha1.task import TaskSpec
from graft_trainer.publish.charts import Line, histogram, line_chart
from graft_trainer.publish.model_card import render_model_card
from graft_trainer.publish.report_html import render_report, verdict_of
from graft_trainer.publish.story import Curves, Example, Results, Scores, Story

EVIL = "<script>alert(1)</script> & \"quotes\" 'too'"


def a_story(classes: int = 3, gates: tuple[str, ...] = ("Pass", "Fail")) -> Story:
    names = [f"class {i}" for i in range(classes)] + [EVIL]
    confusion = {name: {name: 5, names[0]: 6} for name in names}
    scores = Scores(
        {"accuracy": 0.9, "calibration_error": 0.1},
        {"accuracy": dict.fromkeys(names, 0.5), "f1": {}},
        {"label": dict.fromkeys(names, 11)},
        {"label": confusion},
    )
    base = replace(scores, metrics={"accuracy": 0.25, "calibration_error": 0.3})
    statuses = [GateStatus.model_validate({"metric": "accuracy", "result": g, "detail": "because | so"}) for g in gates]
    worst = [Example(EVIL, EVIL, "wrong", None, 0.75, "file:///d.csv:3"), Example("p", "e", "a", "b", None, "x:1")]
    return Story(
        name="ml/job",
        base_id="owner/model",
        base_revision="f" * 40,
        license="mit",
        task=TaskSpec.model_validate({"type": "classification", "labels": names}),
        result=Results(33, scores, {"base": base}, statuses, worst),
        history=Curves([(1, 2.0), (2, 1.0)], [(2, 1.5)], [(1, 0.1), (2, 0.0)]),
        lengths=[(0, 2, 0), (2, 4, 7)],
        length_unit="tokens",
        facts={"seed": EVIL},
    )


class Tags(HTMLParser):
    """Notes what a page is made of, and that what is opened is closed."""

    VOID = frozenset({"meta", "line", "rect", "circle", "polyline"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere() -> None:
    page = render_report(a_story())
    tags = Tags(page)
    assert tags.open == []
    assert "svg" in tags.seen
    assert not tags.seen & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?://|url\(|@import", page)


def test_texts_of_users_cannot_become_markup() -> None:
    page = render_report(a_story())
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_equal_stories_give_equal_bytes() -> None:
    assert render_report(a_story()) == render_report(a_story())
    assert render_model_card(a_story()) == render_model_card(a_story())


def test_metrics_stand_beside_the_base_and_lower_is_better_where_it_is() -> None:
    page = render_report(a_story())
    assert re.search(r'accuracy</td><td class="n">0\.9</td><td class="n">0\.25</td><td class="n better">\+0\.65', page)
    assert re.search(
        r'calibration_error</td><td class="n">0\.1</td><td class="n">0\.3</td><td class="n better">-0\.2', page
    )


def test_a_matrix_too_wide_for_a_page_gives_way_to_the_table() -> None:
    assert "Too many classes for a matrix" in render_report(a_story(classes=40))


@pytest.mark.parametrize(
    ("gates", "verdict"),
    [
        ((), "no gates"),
        (("Pass",), "gates passed"),
        (("Pass", "Fail", "InsufficientEvidence"), "gates failed"),
        (("Pass", "InsufficientEvidence"), "not enough evidence"),
    ],
)
def test_the_verdict_is_the_worst_of_the_gates(gates: tuple[str, ...], verdict: str) -> None:
    assert verdict_of(a_story(gates=gates))[0] == verdict


def test_the_model_card_has_the_hubs_metadata() -> None:
    yaml = pytest.importorskip("yaml")
    card = render_model_card(a_story())
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "owner/model"
    assert front["library_name"] == "peft"
    assert front["model-index"][0]["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.9}


def test_a_run_without_figures_says_so_instead_of_drawing_nothing() -> None:
    assert "Nothing was recorded" in line_chart([Line("loss", [], "one")], x_label="step", y_label="loss")
    assert "Nothing was measured" in histogram([(0, 2, 0)], unit="tokens")


def test_a_flat_curve_and_a_single_point_can_be_drawn() -> None:
    for points in ([(1.0, 2.0)], [(1.0, 2.0), (5.0, 2.0)], [(0.0, 0.0), (1.0, 0.0)]):
        assert "polyline" in line_chart([Line("loss", points, "one")], x_label="step", y_label="loss")


def test_long_curves_are_thinned_to_what_pixels_can_show() -> None:
    chart = line_chart([Line("loss", [(i, i) for i in range(100_000)], "one")], x_label="step", y_label="loss")
    assert len(chart) < 20_000
