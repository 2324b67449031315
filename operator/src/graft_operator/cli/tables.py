"""The tables of `graft get`: the CRD's own printer columns, evaluated over the object."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from graft_core.api.crd import PrinterColumn, printer_columns
from graft_core.clock import from_rfc3339
from graft_operator.cli.durations import to_age

__all__ = ["Table", "look_up"]


class Table:
    """A table of one kind, whose columns only ever grow wider, so that a watch stays readable."""

    def __init__(self, kind: str, *, wide: bool, with_namespace: bool) -> None:
        self._columns: Sequence[PrinterColumn] = [c for c in printer_columns(kind) if wide or not c.priority]
        self._with_namespace = with_namespace
        self._widths: list[int] = []

    def header(self) -> list[str]:
        """Return the titles."""
        names = ["NAMESPACE"] if self._with_namespace else []
        return [*names, "NAME", *(c.name.upper() for c in self._columns)]

    def row(self, obj: dict[str, Any], now: datetime) -> list[str]:
        """Return the cells of one object."""
        meta = obj["metadata"]
        head = [meta["namespace"], meta["name"]] if self._with_namespace else [meta["name"]]
        return [*head, *(_cell(obj, column, now) for column in self._columns)]

    def lines(self, rows: Iterable[Sequence[str]]) -> list[str]:
        """Align rows with each other and with all lines before them."""
        listed = [list(row) for row in rows]
        for row in listed:
            self._widths = [
                max(len(cell), width) for cell, width in zip(row, self._widths or [0] * len(row), strict=True)
            ]
        return [
            "   ".join(cell.ljust(width) for cell, width in zip(row, self._widths, strict=True)).rstrip()
            for row in listed
        ]


def look_up(obj: object, json_path: str) -> object:
    """Follow a simple JSONPath (`.a.b`, `.a[0].b`); None where there is nothing.

    Args:
        obj: An API object.
        json_path: Keys and indices only, with or without braces, as printer columns and `--for=jsonpath` use them.

    Returns:
        The value there, or None.
    """
    path = json_path.strip("{}").lstrip("$").replace("[", ".").replace("]", "")
    for key in (part for part in path.split(".") if part):
        if isinstance(obj, list):
            obj = obj[int(key)] if key.isdecimal() and int(key) < len(obj) else None
        else:
            obj = obj.get(key) if isinstance(obj, dict) else None
    return obj


def _cell(obj: dict[str, Any], column: PrinterColumn, now: datetime) -> str:
    value = look_up(obj, column.json_path)
    if value is None or value == "":
        return "-"
    if column.type == "date":
        return to_age((now - from_rfc3339(str(value))).total_seconds())
    return str(value)
