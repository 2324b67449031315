"""YAML (and so JSON) text → plain values, strictly: no key twice, no key that is not a string, no tags, bounded in size.

A mapping with the same key twice means that somebody overlooked one of them; a manifest is no place for that.
"""

from collections.abc import Callable
from typing import Any, cast

import yaml

from graft_core.errors import InvalidInput

__all__ = ["parse_yaml"]

MAX_NODES = 200_000
"""Values in one text, each use of an alias counted: a few lines of aliases can stand for billions."""

_MERGE = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.CSafeLoader):
    """Safe YAML whose time stamps stay strings, as the API wants them."""


def parse_yaml(text: str) -> list[object]:
    """Read all documents of a text.

    Args:
        text: YAML or JSON; documents are separated by `---`.

    Returns:
        The documents; an empty one is None.

    Raises:
        InvalidInput: The text is not YAML, or not strict enough; with line and column.
    """
    try:
        documents = cast("list[object]", list(yaml.load_all(text, Loader=_StrictLoader)))  # a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise InvalidInput(f"is not valid YAML: {where}{_problem(error)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidInput(
            f"is not valid YAML: line {line}: the character U+{_code_point(error.character):04X} is not allowed"
        ) from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"is not valid YAML: {error}") from error
    except RecursionError as error:
        raise InvalidInput("is not valid YAML: it is nested too deeply") from error
    except ValueError as error:  # a number with more digits than Python reads, a date such as 2026-13-01
        raise InvalidInput(f"is not valid YAML: {error}") from error
    if _count(documents, MAX_NODES) > MAX_NODES:
        raise InvalidInput(f"holds more than {MAX_NODES} values once its aliases are followed")
    return documents


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context)
    if "'\\t'" in problem or "\\t" in problem:
        return f"{problem}; indent with spaces, not tabs"
    return problem


def _code_point(character: object) -> int:
    return ord(character) if isinstance(character, str) else int(str(character))


def _count(value: object, limit: int) -> int:
    """Count values as a tree, stopping soon after the limit."""
    total, stack = 0, [value]
    while stack and total <= limit:
        one = stack.pop()
        total += 1
        if isinstance(one, dict):
            stack.extend(cast("dict[str, object]", one).values())
        elif isinstance(one, list):
            stack.extend(cast("list[object]", one))
    return total


def _construct_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[str, object]:
    construct: Callable[..., object] = cast("Any", loader).construct_object  # its stub leaves the node open
    written: set[str] = set()
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            continue
        key = construct(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is not a string; quote it", key_node.start_mark
            )
        if key in written:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} appears twice in one mapping", key_node.start_mark
            )
        written.add(key)
    loader.flatten_mapping(node)
    return {
        str(construct(key_node, deep=True)): construct(value_node, deep=True) for key_node, value_node in node.value
    }


def _construct_text(loader: _StrictLoader, node: yaml.Node) -> str:
    del loader
    return str(node.value)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _construct_text)
