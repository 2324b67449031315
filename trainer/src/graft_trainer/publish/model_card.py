"""model_card.md in the Hub's metadata format (YAML front matter with `model-index`), so that what publishes adapters there can read it."""

import json
from collections.abc import Iterator

from graft_core.api.v1alpha1.task import TaskType
from graft_trainer.publish.report_html import verdict_of
from graft_trainer.publish.story import Story

__all__ = ["render_model_card"]


def render_model_card(story: Story) -> str:
    """Render the card; equal stories give equal bytes."""
    return "\n".join([*_front_matter(story), "", *_body(story)]) + "\n"


def _front_matter(story: Story) -> Iterator[str]:
    # JSON strings are YAML strings; names and labels cannot break out of them.
    quoted = json.dumps
    is_classifier = story.task.type is TaskType.CLASSIFICATION
    pipeline = "text-classification" if is_classifier else "text-generation"
    yield "---"
    yield f"base_model: {quoted(story.base_id)}"
    yield "library_name: peft"
    yield f"pipeline_tag: {pipeline}"
    if story.license:
        yield f"license: {quoted(story.license)}"
    yield "tags:"
    yield from (f"- {tag}" for tag in ("lora", "graft", story.task.type.value))
    yield "model-index:"
    yield f"- name: {quoted(story.name)}"
    yield "  results:"
    yield f"  - task: {{type: {pipeline}}}"
    yield f"    dataset: {{name: {quoted('test split of ' + story.name)}, type: private}}"
    yield "    metrics:"
    for name, value in story.result.adapter.metrics.items():
        yield f"    - {{type: {quoted(name)}, value: {value:.6g}}}"
    yield "---"


def _body(story: Story) -> Iterator[str]:
    verdict, _ = verdict_of(story)
    yield f"# {story.name}"
    yield ""
    yield f"A LoRA adapter for `{story.base_id}` at `{story.base_revision}`, task `{story.task.type.value}`; {verdict}."
    yield ""
    yield "It works with exactly that base revision and with the prompt template recorded in `manifest.json`."
    yield ""
    yield f"## Metrics on {story.result.count} test records"
    yield ""
    names = list(story.result.baselines)
    yield "| metric | adapter |" + "".join(f" {name} |" for name in names)
    yield "|---|---|" + "---|" * len(names)
    for metric, value in story.result.adapter.metrics.items():
        others = (story.result.baselines[name].metrics.get(metric) for name in names)
        yield f"| {metric} | {value:.4g} |" + "".join(" – |" if o is None else f" {o:.4g} |" for o in others)
    if story.note:
        yield ""
        yield story.note
    if story.result.gates:
        yield ""
        yield "## Gates"
        yield ""
        yield "| metric | result | value | why |"
        yield "|---|---|---|---|"
        for gate in story.result.gates:
            yield f"| {gate.metric} | {gate.result} | {gate.value} | {gate.detail.replace('|', '/')} |"
    yield ""
    yield "## Training"
    yield ""
    yield from (f"- {name}: {value}" for name, value in story.facts.items())
