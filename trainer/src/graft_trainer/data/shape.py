"""From a parsed record to an example: input, answer, label, stratum. What does not fit is a BadRecord that names the column.

Inputs are stored as JSON with sorted keys, so that two records that differ only in key order are the same record. JSON answers
get the key order of the output schema here; `store.py` writes them as the model shall learn them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

import orjson

from graft_core.api.shapes import is_object, is_sequence
from graft_core.api.v1alpha1.dataset import DatasetFormat
from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import InvalidInput
from graft_core.tasks.messages import Message, check_conversation, parse_messages, to_dicts
from graft_core.tasks.outputs import normalize_label, parse_output
from graft_core.tasks.template import render_prompt, render_request
from graft_trainer.config import DataLimits
from graft_trainer.data.formats import Layout
from graft_trainer.data.schema_gate import compile_exact, compile_gate
from graft_trainer.data.values import BadRecord, parse_record, texts_of

__all__ = ["Example", "Shaper", "ShaperSpec"]

_SHAREGPT_ROLES: Final = {
    "human": "user",
    "gpt": "assistant",
    "system": "system",
    "user": "user",
    "assistant": "assistant",
}
_CONVERSATIONAL: Final = frozenset({TaskType.CHAT, TaskType.RAG_QA})


@dataclass(frozen=True, slots=True)
class ShaperSpec:
    """What turns records into examples; travels to the checking processes."""

    task: TaskSpec
    layout: Layout
    labels: tuple[str, ...]
    """Closed set where the spec or the check has pinned one; empty: every label counts."""
    stratify_by: str | None
    limits: DataLimits


Example = tuple[bytes, bytes, int, str | None, str | None]
"""One record, checked: input (JSON of the fields or the messages), answer (UTF-8; compact JSON for text-to-json), characters of
both, label, stratum. A tuple, for there are millions."""


class Shaper:
    """Shapes the records of one data set; not thread-safe, keeps no record."""

    def __init__(self, spec: ShaperSpec) -> None:
        self._task = spec.task
        self._limits = spec.limits
        self.layout = spec.layout
        self._known = {normalize_label(name): name for name in spec.labels}
        self._shown_labels = ", ".join(spec.labels[:10]) + (", …" if len(spec.labels) > 10 else "")
        self._canonical: dict[str, str] = {}
        self.is_classification = spec.task.type is TaskType.CLASSIFICATION
        self.is_json = spec.task.type is TaskType.TEXT_TO_JSON
        schema = spec.task.output_schema
        self._gate = compile_gate(schema) if schema is not None else None
        self.is_plain = compile_exact(schema) if schema is not None else None
        self.order = _compile_order(schema or {})
        by = spec.stratify_by
        path = by.split(".") if by and self.is_json and by != "length" else None
        self.stratum_of = None if path is None else partial(_stratum, path=path)
        self.shape: Callable[[object], Example] = (
            self._shape_messages if spec.layout.format is DatasetFormat.MESSAGES else self._shape_columns
        )
        """Shape one parsed record; raises BadRecord."""

    def _shape_columns(self, record: object) -> Example:
        if type(record) is not dict:
            raise BadRecord(f"expected an object with columns, got {_kind(record)}")
        held = cast("dict[str, Any]", record)
        layout = self.layout
        fields: dict[str, Any] = {}
        length = texts = 0
        for column, field in layout.inputs:
            value = held.get(column)
            if type(value) is str and value:
                length += len(value)
                texts += not value.isspace()
            if value is not None or column in held:
                fields[field] = value
        if texts != len(layout.inputs):
            self._check_inputs(held, fields)
        if layout.answer not in held:
            raise BadRecord(f"column {layout.answer!r} (the answer) is missing")
        answer, more, label, stratum = self._finish(held[layout.answer], layout.answer)
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), answer, length + more, label, stratum

    def _check_inputs(self, held: Mapping[str, object], fields: dict[str, Any]) -> None:
        """Refuse an input that renders to nothing or not at all; fill in what may be absent without a template."""
        for column, field in self.layout.inputs:
            value = held.get(column)
            if not self._task.template:
                if value is None and column in self.layout.optional:
                    fields[field] = ""
                elif type(value) is not str:
                    raise BadRecord(
                        f"column {column!r} (the input) must be a text, got {_kind(value, is_there=column in held)}"
                    )
            elif column not in held and column not in self.layout.optional:
                raise BadRecord(f"column {column!r} (named by task.template) is missing")
        if all(
            value in (None, "", [], {}) or (isinstance(value, str) and not value.strip()) for value in fields.values()
        ):
            columns = ", ".join(repr(column) for column, _ in self.layout.inputs)
            raise BadRecord(f"the input is empty (column {columns})")
        try:
            render_prompt(self._task, fields)
        except InvalidInput as err:
            raise BadRecord(str(err)) from None

    def _shape_messages(self, record: object) -> Example:
        if not is_object(record):
            raise BadRecord(f"expected an object with column {self.layout.answer!r}, got {_kind(record)}")
        column = self.layout.answer
        if column not in record:
            raise BadRecord(f"column {column!r} is missing")
        turns = record[column]
        if isinstance(turns, str):
            # CSV has texts only; the turns come as JSON in the cell.
            turns = parse_record(turns.encode(), self._limits)
        try:
            messages = parse_messages(_from_sharegpt(turns), path=column)
            check_conversation(messages, path=column, is_example=True)
            prompt, answer = messages[:-1], messages[-1].content
            self._check_turns(prompt, column)
        except InvalidInput as err:
            raise BadRecord(str(err)) from None
        length = sum(len(message.content) for message in prompt)
        written, more, label, stratum = self._finish(answer, f"{column}[{len(messages) - 1}].content")
        return orjson.dumps(to_dicts(prompt), option=orjson.OPT_SORT_KEYS), written, length + more, label, stratum

    def _check_turns(self, prompt: Sequence[Message], column: str) -> None:
        for i, message in enumerate(prompt):
            if not message.content.strip():
                raise BadRecord(f"{column}[{i}].content is empty")
        if self._task.template or self._task.type not in _CONVERSATIONAL:
            render_request(self._task, prompt)

    def _finish(self, value: object, column: str) -> tuple[bytes, int, str | None, str | None]:
        """Read the answer by the task's contract: its bytes, characters, label and stratum."""
        if self.is_json:
            return self._finish_json(value, column)
        if self.is_classification:
            label = self.label(value, column)
            return label.encode(), len(label), label, label
        if type(value) is not str:
            raise BadRecord(f"{column} (the answer) must be a text, got {_kind(value)}")
        if not value or value.isspace():
            raise BadRecord(f"{column}: the answer is empty; there is nothing to learn")
        return value.encode(), len(value), None, None

    def _finish_json(self, value: Any, column: str) -> tuple[bytes, int, None, str | None]:  # noqa: ANN401 - a JSON value
        if type(value) is str:
            try:
                value = parse_record(value.encode(), self._limits)
            except BadRecord as err:
                raise BadRecord(f"{column}: {err}") from None
        if self.is_plain is not None and self.is_plain(value):
            written = orjson.dumps(value)
        else:
            self._check_json(value, column)
            written = orjson.dumps(self.order(value))
        if b"\\u0000" in written and "\x00" in texts_of(value):
            raise BadRecord(f"{column}: a text holds NUL (U+0000); remove it")
        stratum = None if self.stratum_of is None else self.stratum_of(value)
        return written, len(written), None, stratum

    def _check_json(self, value: object, column: str) -> None:
        if type(value) is not dict and (self._gate is not None or type(value) is not list):
            raise BadRecord(f"{column} (the answer) must be a JSON object, got {_kind(value)}")
        if not value:
            raise BadRecord(f"{column}: the answer is empty; there is nothing to learn")
        if self._gate is not None and not self._gate(value):
            faults = parse_output(self._task, orjson.dumps(value).decode()).faults
            if faults:
                raise BadRecord(f"{column} breaks task.outputSchema: {'; '.join(faults[:3])}")

    def label(self, value: object, column: str) -> str:
        """Return a label as the closed set writes it.

        Raises BadRecord: It is no label, or not one of the set.
        """
        if isinstance(value, bool | int):
            value = json.dumps(value)
        if type(value) is not str:
            raise BadRecord(f"{column} (the label) must be a text, got {_kind(value)}")
        cached = self._canonical.get(value)
        if cached is not None:
            return cached
        label = value.strip()
        if not label:
            raise BadRecord(f"{column}: the label is empty")
        if len(label) > 128:
            raise BadRecord(f"{column}: a label of {len(label)} characters; at most 128 fit")
        if self._known:
            known = self._known.get(normalize_label(label))
            if known is None:
                raise BadRecord(f"{column}: the label is not one of task.labels ({self._shown_labels})")
            label = known
        if len(self._canonical) < 4 * self._limits.labels:
            self._canonical[value] = label
        return label


def _from_sharegpt(turns: object) -> object:
    """Translate from/value turns; anything else is passed on for parse_messages to judge."""
    if not is_sequence(turns) or not turns:
        return turns
    if not all(is_object(turn) and "from" in turn and "role" not in turn for turn in turns):
        return turns
    held = cast("Sequence[Mapping[str, object]]", turns)
    return [
        {
            "role": _SHAREGPT_ROLES.get(name, name) if isinstance(name := turn["from"], str) else name,
            "content": turn.get("value"),
        }
        for turn in held
    ]


def _stratum(value: object, path: Sequence[str]) -> str | None:
    for name in path:
        if not is_object(value) or name not in value:
            return None
        value = value[name]
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _compile_order(schema: Mapping[str, object]) -> Callable[[Any], Any]:
    """Return a function that puts keys in the schema's order, keys that it does not name behind them as they came."""
    properties = schema.get("properties")
    if not is_object(properties):
        return lambda value: value
    names = list(properties)
    subs = {name: _compile_order(sub) for name, sub in properties.items() if is_object(sub) and "properties" in sub}

    def order(value: Any) -> Any:  # noqa: ANN401 - a JSON value
        if type(value) is not dict:
            return value
        if not subs and list(value) == names:
            return value
        first = {name: value[name] for name in names if name in value}
        ordered = {**first, **value}
        for name, sub in subs.items():
            if name in ordered:
                ordered[name] = sub(ordered[name])
        return ordered

    return order


def _kind(value: object, *, is_there: bool = True) -> str:
    match value:
        case None:
            return "null" if is_there else "nothing"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"
