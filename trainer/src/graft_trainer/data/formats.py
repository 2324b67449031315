"""Which columns hold what: the closed table of record layouts, and how `format: auto` chooses among them.

    format         columns                                                            answer
    messages       messages | conversations                                           the last assistant turn
    instruction    instruction, and input if it is there                              output | response
    text-label     text | sentence                                                    label | category
    input-output   input | prompt | question | query, or those the template names     output | completion | response | answer | sql

`conversations` may be in ShareGPT's shape (from/value with human, gpt, system). The table is tried from the top: a record with
`instruction` is no input-output record, though it has input and output. Everything else that fits two layouts, or has two
columns that could be the same thing, is refused with what was seen. `preference` and `fields` are refused by name.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from graft_core.api.v1alpha1.dataset import DatasetFormat
from graft_core.api.v1alpha1.task import TaskSpec
from graft_core.errors import NotSupported
from graft_core.tasks.template import template_variables
from graft_trainer.data.faults import DatasetError

__all__ = ["Layout", "choose_layout"]

_FIELD: Final = "spec.dataset.format"
_MESSAGES: Final = ("messages", "conversations")
_INPUTS: Final = ("input", "prompt", "question", "query")
_OUTPUTS: Final = ("output", "completion", "response", "answer", "sql")
_INSTRUCTION_OUTPUTS: Final = ("output", "response")
_TEXTS: Final = ("text", "sentence")
_LABELS: Final = ("label", "category")
_PREFERENCE: Final = frozenset({"chosen", "rejected"})
_SHOWN_COLUMNS: Final = 20
_TABLE: Final[dict[DatasetFormat, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    DatasetFormat.INSTRUCTION: (("instruction",), _INSTRUCTION_OUTPUTS),
    DatasetFormat.TEXT_LABEL: (_TEXTS, _LABELS),
    DatasetFormat.INPUT_OUTPUT: (_INPUTS, _OUTPUTS),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a record's parts are."""

    format: DatasetFormat
    """Never auto."""
    inputs: tuple[tuple[str, str], ...]
    """(column, field): what becomes Record.fields under which name; empty for messages."""
    optional: frozenset[str]
    """Columns of `inputs` that may be absent: the template copes."""
    answer: str
    """Column of the answer; for messages, the column of the turns."""
    found: str
    """For a person: what was chosen and why."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read; the others are left in the file."""
        return (*(column for column, _ in self.inputs), self.answer)


def choose_layout(task: TaskSpec, wanted: DatasetFormat, records: Iterable[Collection[str]]) -> Layout:
    """Find the one layout that the first records have.

    Args:
        task: Its template names input columns.
        wanted: spec.dataset.format.
        records: Column names of the first readable records, or of the header.

    Returns:
        The layout.

    Raises:
        DatasetError: No layout fits, or more than one; says which columns were seen.
        NotSupported: preference or fields.
    """
    if wanted in {DatasetFormat.PREFERENCE, DatasetFormat.FIELDS}:
        raise NotSupported(f"{_FIELD}: {wanted.value!r} is not supported in this version", path=_FIELD)
    columns = _common_columns(records)
    if wanted is DatasetFormat.AUTO:
        return _detect(task, columns)
    layout = _fit(task, wanted, columns)
    if layout is None:
        raise DatasetError(f"{_FIELD}: {_expectation(wanted)}; the records have {_tell(columns)}", path=_FIELD)
    return layout


def _common_columns(records: Iterable[Collection[str]]) -> tuple[str, ...]:
    """Return the columns that at least half of the records have: one odd record decides nothing."""
    seen: Counter[str] = Counter()
    total = 0
    for names in records:
        total += 1
        seen.update(list(names))
    return tuple(name for name, count in seen.items() if 2 * count >= total)


def _detect(task: TaskSpec, columns: tuple[str, ...]) -> Layout:
    if columns and set(columns) >= _PREFERENCE:
        raise NotSupported(
            f"{_FIELD}: columns 'chosen' and 'rejected' make these preference records, which are not supported in this version",
            path=_FIELD,
        )
    tried = (DatasetFormat.MESSAGES, *_TABLE)
    fits = [layout for kind in tried if (layout := _fit(task, kind, columns)) is not None]
    if not fits:
        rules = "; ".join(_expectation(kind) for kind in tried)
        raise DatasetError(f"{_FIELD}: auto knows no layout with the columns {_tell(columns)}. {rules}", path=_FIELD)
    if fits[0].format is DatasetFormat.INSTRUCTION:
        fits = [layout for layout in fits if layout.format is not DatasetFormat.INPUT_OUTPUT]
    if len(fits) > 1:
        names = " and ".join(layout.format.value for layout in fits)
        raise DatasetError(
            f"{_FIELD}: auto is ambiguous: the columns {_tell(columns)} fit {names}; set {_FIELD} to one of them",
            path=_FIELD,
        )
    return fits[0]


def _fit(task: TaskSpec, kind: DatasetFormat, columns: tuple[str, ...]) -> Layout | None:
    if kind is DatasetFormat.MESSAGES:
        turns = _pick(_MESSAGES, columns, "the turns")
        found = f"messages: column {turns!r} holds the turns"
        return None if turns is None else Layout(kind, (), frozenset(), turns, found)
    input_names, answer_names = _TABLE[kind]
    variables = template_variables(task) if task.template else frozenset[str]()
    if kind is not DatasetFormat.INPUT_OUTPUT and _pick(input_names, columns, "the input") is None:
        return None
    answers = [name for name in answer_names if name in columns and name not in variables]
    if not answers:
        return None
    answer = _pick(answer_names, answers, "the answer")
    inputs, optional = _inputs(task, kind, columns, variables)
    if answer is None or not inputs:
        return None
    shown = ", ".join(repr(column) for column, _ in inputs)
    why = "named by task.template" if variables else "by its name"
    found = f"{kind.value}: answer in column {answer!r}, input in {shown} ({why})"
    return Layout(kind, inputs, optional, answer, found)


def _inputs(
    task: TaskSpec, kind: DatasetFormat, columns: tuple[str, ...], variables: frozenset[str]
) -> tuple[tuple[tuple[str, str], ...], frozenset[str]]:
    """Return (column, field) pairs and the columns that a record may lack."""
    has_alpaca_input = kind is DatasetFormat.INSTRUCTION and "input" in columns
    if not task.template:
        if kind is DatasetFormat.INSTRUCTION:
            if has_alpaca_input:
                return (("instruction", "instruction"), ("input", "input")), frozenset({"input"})
            return (("instruction", "instruction"),), frozenset()
        column = _pick(_TABLE[kind][0], columns, "the input")
        return (((column, "input"),) if column else ()), frozenset()
    # A template may speak of `input` whatever the column is called: that is what serving calls the user's message.
    known = [name for name in _TABLE[kind][0] if name in columns and name not in variables]
    pairs = tuple((_column_of(name, columns, known), name) for name in sorted(variables))
    present = tuple(pair for pair in pairs if pair[0] in columns)
    if not present:
        return (), frozenset()
    return pairs, frozenset(column for column, _ in pairs if column not in columns)


def _column_of(variable: str, columns: tuple[str, ...], known: list[str]) -> str:
    if variable not in columns and variable == "input" and len(known) == 1:
        return known[0]
    return variable


def _pick(names: Collection[str], columns: Collection[str], role: str) -> str | None:
    """Return the one column of that role, None where there is none.

    Raises DatasetError: Two columns could be it.
    """
    present = [name for name in names if name in columns]
    if len(present) > 1:
        raise DatasetError(
            f"{_FIELD}: columns {present[0]!r} and {present[1]!r} could both be {role}; rename or drop one, or name the"
            " input columns in spec.task.template",
            path=_FIELD,
        )
    return present[0] if present else None


def _expectation(kind: DatasetFormat) -> str:
    if kind is DatasetFormat.MESSAGES:
        return f"messages needs a column {_either(_MESSAGES)}"
    inputs, answers = _TABLE[kind]
    return f"{kind.value} needs {_either(inputs)} and {_either(answers)}"


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(repr(name) for name in names)


def _tell(columns: tuple[str, ...]) -> str:
    # Column names are the author's, not a record's text; still, a file that is no table may have anything there.
    shown = [name[:40] for name in columns[:_SHOWN_COLUMNS]]
    return repr(shown) if shown else "no columns"
