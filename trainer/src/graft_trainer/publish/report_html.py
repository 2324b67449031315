"""report.html: the whole story of a run on one page that needs nothing else: curves, metrics beside the base, gates, tables, worst examples.

The texts of examples are the user's own, in the user's own artifact; everything is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from graft_core.api.v1alpha1.metrics import LOWER_IS_BETTER
from graft_trainer.publish.charts import Line, histogram, line_chart
from graft_trainer.publish.story import Story

__all__ = ["render_report", "verdict_of"]

MAX_MATRIX_CLASSES: Final = 24
"""A larger confusion matrix is wider than a page; the table by class stays."""


def render_report(story: Story) -> str:
    """Render the page; equal stories give equal bytes."""
    env = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("graft_trainer.publish").joinpath("report.html.jinja").read_text(encoding="utf-8")
    verdict, css_class = verdict_of(story)
    result, history = story.result, story.history
    return env.from_string(source).render(
        name=story.name,
        verdict=verdict,
        verdict_class=css_class,
        subtitle=f"{story.task.type.value} on {story.base_id} at {story.base_revision}",
        gates=result.gates,
        count=result.count,
        baseline_names=list(result.baselines),
        metrics=_metric_rows(story),
        note=story.note,
        loss_chart=Markup(  # noqa: S704  # own SVG, texts escaped there
            line_chart(
                [Line("training", history.losses, "one"), Line("validation", history.eval_losses, "two")],
                x_label="step",
                y_label="loss",
            )
        ),
        rate_chart=Markup(  # noqa: S704  # same
            line_chart([Line("learning rate", history.learning_rates, "one")], x_label="step", y_label="learning rate")
        ),
        length_chart=Markup(histogram(story.lengths, unit=story.length_unit)),  # noqa: S704  # same
        tables=[_class_table(story, field) for field in sorted(result.adapter.support)],
        worst=result.worst,
        facts=list(story.facts.items()),
    )


def verdict_of(story: Story) -> tuple[str, str]:
    """Say in two words what became of the gates, and the CSS class for it."""
    results = {gate.result for gate in story.result.gates}
    if not results:
        return "no gates", "InsufficientEvidence"
    if results == {"Pass"}:
        return "gates passed", "Pass"
    return ("gates failed", "Fail") if "Fail" in results else ("not enough evidence", "InsufficientEvidence")


@dataclass(frozen=True)
class _Other:
    value: str
    delta: str
    tone: str


def _metric_rows(story: Story) -> list[dict[str, Any]]:
    result = story.result
    rows: list[dict[str, Any]] = []
    for name, value in result.adapter.metrics.items():
        others = [_beside(name, value, scores.metrics.get(name)) for scores in result.baselines.values()]
        rows.append({"name": name, "value": f"{value:.4g}", "others": others})
    return rows


def _beside(name: str, value: float, other: float | None) -> _Other:
    if other is None:
        return _Other("–", "–", "")
    lead = other - value if name in LOWER_IS_BETTER else value - other
    tone = "better" if lead > 0 else "worse" if lead < 0 else ""
    return _Other(f"{other:.4g}", f"{value - other:+.4g}", tone)


def _class_table(story: Story, field: str) -> dict[str, Any]:
    scores = story.result.adapter
    support = scores.support[field]
    names = ["accuracy", "precision", "recall", "f1"] if field == "label" else [f"{field}.accuracy"]
    names = [name for name in names if name in scores.per_class]
    confusion = scores.confusion.get(field, {})
    columns = sorted({answered for row in confusion.values() for answered in row} | set(confusion))
    return {
        "title": "Classes" if field == "label" else f"Classes of {field}",
        "columns": columns,
        "confusion": _matrix(confusion, columns) if len(columns) <= MAX_MATRIX_CLASSES else [],
        "metric_names": [name.rsplit(".", 1)[-1] for name in names],
        "classes": [
            {
                "name": cls,
                "support": count,
                "values": [f"{scores.per_class[name].get(cls, float('nan')):.3f}" for name in names],
            }
            for cls, count in sorted(support.items())
        ],
    }


def _matrix(confusion: Mapping[str, Mapping[str, int]], columns: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": expected,
            "cells": [
                {
                    "count": row.get(answered, 0),
                    "right": answered == expected,
                    "share": round(60 * row.get(answered, 0) / max(sum(row.values()), 1)),
                }
                for answered in columns
            ],
        }
        for expected, row in sorted(confusion.items())
    ]
