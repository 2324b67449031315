"""What a model wrote, read by the task's output contract; the predictor's guard and the trainer's evaluation share it.

Faults name the field and the expectation, never the answer's text: they go to logs and metrics. A field name comes from the
schema, or is cut short.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn, Protocol, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from graft_core.api.v1alpha1.task import TaskSpec, TaskType
from graft_core.errors import InvalidInput

__all__ = [
    "Json",
    "Parsed",
    "SchemaValidator",
    "check_output_schema",
    "compile_schema",
    "normalize_label",
    "normalize_sql",
    "normalize_text",
    "parse_json",
    "parse_output",
]

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
"""What JSON can hold."""

MAX_FAULTS: Final = 8
"""Faults told of one answer; a repair prompt needs no more."""
MAX_SCHEMA_CHARS: Final = 65536
"""Longest output schema, as JSON."""

_SPACE: Final = re.compile(r"\s+")
_SQL_PARTS: Final = re.compile(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")")
_REFUSED_KEYWORDS: Final = frozenset(
    {"$ref", "$dynamicRef", "$id", "$schema", "$anchor", "$dynamicAnchor", "pattern", "patternProperties"}
)
"""References reach outside the schema or into loops, and Python's regular expressions can take exponential time."""


class SchemaValidator(Protocol):
    """A compiled output schema."""

    def iter_errors(self, instance: object) -> Iterator[ValidationError]:
        """Yield what the value breaks."""
        ...

    def is_valid(self, instance: object) -> bool:
        """Say whether the value keeps the schema."""
        ...


@dataclass(frozen=True, slots=True)
class Parsed:
    """An answer, read."""

    value: Json
    """The JSON value, the label as the task writes it, or the text; None where it could not be read."""
    faults: tuple[str, ...] = ()
    """Why it does not keep the contract, a field each; empty where it does."""

    @property
    def ok(self) -> bool:
        """True where the answer keeps the contract."""
        return not self.faults


def parse_output(task: TaskSpec, text: str) -> Parsed:
    """Read an answer by the task's contract.

    Args:
        task: Type, output schema and labels count.
        text: The whole answer.

    Returns:
        The value and the faults; never raises on what a model wrote.
    """
    match task.type:
        case TaskType.TEXT_TO_JSON:
            return _parse_json_output(task, text)
        case TaskType.CLASSIFICATION:
            return _parse_label(task, text)
        case TaskType.CHAT | TaskType.RAG_QA | TaskType.TEXT_TO_SQL:
            return Parsed(text.strip()) if text.strip() else Parsed(None, ("the answer is empty",))


def parse_json(text: str) -> Json:
    """Read one JSON value, strictly: nothing around it, no NaN, no key twice.

    Raises InvalidInput: It is something else; the message says where, and quotes nothing.
    """
    try:
        return cast("Json", json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_twins))
    except json.JSONDecodeError as err:
        raise InvalidInput(f"not JSON: {err.msg} at line {err.lineno} column {err.colno}") from err
    except (ValueError, RecursionError) as err:
        # int() refuses numbers of thousands of digits, and the parser nesting of thousands of levels.
        raise InvalidInput("not JSON: a number is too long or the nesting too deep") from err


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInput(f"not JSON: {name} is not a JSON number")


def _refuse_twins(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidInput("not JSON: an object has the same key twice")
    return found


def _parse_json_output(task: TaskSpec, text: str) -> Parsed:
    try:
        value = parse_json(text.strip())
    except InvalidInput as err:
        return Parsed(None, (str(err),))
    if task.output_schema is None:
        return Parsed(value)
    return Parsed(value, tuple(_schema_faults(task.output_schema, value)))


def _schema_faults(schema: Mapping[str, object], value: Json) -> Iterator[str]:
    validator = compile_schema(schema)
    for i, err in enumerate(validator.iter_errors(value)):
        if i == MAX_FAULTS:
            yield "and more"
            return
        yield _describe(err)


def _describe(err: ValidationError) -> str:
    """Say what was expected; jsonschema's own message quotes the instance."""
    at = ".".join(str(part)[:64] for part in err.absolute_path) or "the answer"
    keyword, expected = str(err.validator), cast("object", err.validator_value)
    match keyword:
        case "required":
            instance = cast("dict[str, Json]", err.instance)
            names = [name for name in cast("list[str]", expected) if name not in instance]
            # One error comes per missing name, in order; jsonschema's message begins with the name's repr.
            name = next((n for n in names if err.message.startswith(repr(n))), names[0])
            return f"{_child(err, name)}: is missing"
        case "additionalProperties":
            instance = cast("dict[str, Json]", err.instance)
            known = cast("Mapping[str, object]", err.schema).get("properties", {})
            extra = sorted(set(instance) - set(cast("Mapping[str, object]", known)))
            return f"{_child(err, extra[0][:64]) if extra else at}: is not a field of the schema"
        case "type":
            return f"{at}: must be of type {_compact(expected)}"
        case "enum":
            return f"{at}: must be one of {_compact(expected)}"
        case "const":
            return f"{at}: must be {_compact(expected)}"
        case _:
            return f"{at}: must keep {keyword} {_compact(expected)}"


def _child(err: ValidationError, name: str) -> str:
    return ".".join([*(str(part)[:64] for part in err.absolute_path), name])


def _compact(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."


def compile_schema(schema: Mapping[str, object]) -> SchemaValidator:
    """Return the validator of an output schema, or the one made before.

    Raises InvalidInput: As check_output_schema.
    """
    return _compile_schema(json.dumps(schema, sort_keys=True, ensure_ascii=False))


@lru_cache(maxsize=256)
def _compile_schema(text: str) -> SchemaValidator:
    schema = cast("dict[str, object]", json.loads(text))
    check_output_schema(schema)
    return cast("SchemaValidator", Draft202012Validator(schema))


def check_output_schema(schema: Mapping[str, object], *, path: str = "spec.task.outputSchema") -> None:
    """Refuse a schema that is none, or that could take for ever.

    Args:
        schema: Draft 2020-12.
        path: Field path for the faults.

    Raises:
        InvalidInput: Not a valid schema, too large, or a keyword that output schemas may not use.
    """
    if len(json.dumps(schema, ensure_ascii=False)) > MAX_SCHEMA_CHARS:
        raise InvalidInput(f"{path} is over {MAX_SCHEMA_CHARS} characters as JSON", path=path)
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as err:
        at = ".".join([path, *map(str, err.absolute_path)]) if isinstance(err, SchemaError) else path
        detail = err.message[:200] if isinstance(err, SchemaError) else "nested too deeply"
        raise InvalidInput(f"{at}: not a JSON Schema (draft 2020-12): {detail}", path=at) from err
    if schema.get("type") != "object":
        raise InvalidInput(
            f"{path}.type: {schema.get('type')!r}, expected 'object': an answer is one JSON object", path=f"{path}.type"
        )
    for at, keyword in _walk_keywords(schema, path):
        if keyword in _REFUSED_KEYWORDS:
            raise InvalidInput(
                f"{at}: the keyword {keyword!r} is not allowed in an output schema; use enum, type or nested properties",
                path=at,
            )


def _walk_keywords(schema: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield (path, keyword) of all schemas in the schema; property names are not keywords."""
    if isinstance(schema, list):
        for i, item in enumerate(cast("list[object]", schema)):
            yield from _walk_keywords(item, f"{path}[{i}]")
    if not isinstance(schema, dict):
        return
    for keyword, value in cast("dict[str, object]", schema).items():
        yield f"{path}.{keyword}", keyword
        if keyword in {"properties", "$defs", "dependentSchemas", "patternProperties"} and isinstance(value, dict):
            for name, item in cast("dict[str, object]", value).items():
                yield from _walk_keywords(item, f"{path}.{keyword}.{name}")
        elif keyword not in {"enum", "const", "default", "examples", "required"}:
            yield from _walk_keywords(value, f"{path}.{keyword}")


def _parse_label(task: TaskSpec, text: str) -> Parsed:
    label = normalize_label(text)
    if not label:
        return Parsed(None, ("the label is empty",))
    if task.labels is None:
        return Parsed(text.strip())
    known = {normalize_label(name): name for name in task.labels}
    if label not in known:
        return Parsed(None, (f"the label must be one of {_compact(list(task.labels))}",))
    return Parsed(known[label])


def normalize_text(text: str) -> str:
    """Return the text in NFC with runs of white space as one space: what an exact match compares."""
    return _SPACE.sub(" ", unicodedata.normalize("NFC", text)).strip()


def normalize_label(text: str) -> str:
    """Return the label in NFC, case-folded, without quotes and the full stop around it."""
    return normalize_text(text).strip("\"'`. ").casefold()


def normalize_sql(text: str) -> str:
    """Return the statement in lower case with single spaces outside of quotes and without the final semicolon."""
    parts = _SQL_PARTS.split(unicodedata.normalize("NFC", text).strip().rstrip(";").rstrip())
    return "".join(part if i % 2 else _SPACE.sub(" ", part).lower() for i, part in enumerate(parts))
