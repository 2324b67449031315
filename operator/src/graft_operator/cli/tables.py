"""The tables of `graft get`: the CRD's own printer columns, evaluated over the object."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from graft_core.api.v1alpha1.columns import COLUMNS, Column
from graft_core.clock import from_rfc3339
from graft_operator.cli.durations import to_age
from graft_operator.cli.jsonpath import look_up, to_words
from graft_operator.local.fields import Json, name_of, namespace_of

__all__ = ["Table", "align"]


class Table:
    """A table of one kind, whose columns only ever grow wider, so that a watch stays readable."""

    def __init__(self, kind: str, *, wide: bool, with_namespace: bool) -> None:
        self._columns = [column for column in COLUMNS[kind] if wide or not column.is_wide]
        self._with_namespace = with_namespace
        self._widths: list[int] = []

    def header(self) -> list[str]:
        """Return the titles."""
        names = ["NAMESPACE"] if self._with_namespace else []
        return [*names, "NAME", *(column.name.upper() for column in self._columns)]

    def row(self, obj: Json, now: datetime) -> list[str]:
        """Return the cells of one object."""
        head = [namespace_of(obj), name_of(obj)] if self._with_namespace else [name_of(obj)]
        return [*head, *(_cell(obj, column, now) for column in self._columns)]

    def lines(self, rows: Iterable[Sequence[str]]) -> list[str]:
        """Align rows with each other and with all lines before them."""
        return align(rows, self._widths)


def align(rows: Iterable[Sequence[str]], widths: list[int]) -> list[str]:
    """Write rows in columns.

    Args:
        rows: Cells, as many in each row.
        widths: Widths so far; raised to what these rows need.

    Returns:
        A line for each row.
    """
    listed = [list(row) for row in rows]
    needed = [max(map(len, column)) for column in zip(*listed, strict=True)]
    widths[:] = [max(pair) for pair in zip(needed, widths or needed, strict=True)]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in listed]


def _cell(obj: Json, column: Column, now: datetime) -> str:
    value = to_words(look_up(obj, column.path))
    if not value:
        return "-"
    return to_age((now - from_rfc3339(value)).total_seconds()) if column.type == "date" else value
