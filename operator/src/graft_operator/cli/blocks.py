"""Pieces that `graft describe` is made of: named values, tables with a title, and how a person reads sizes and ages."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from graft_core.clock import from_rfc3339
from graft_operator.cli.durations import to_age
from graft_operator.cli.tables import align

__all__ = ["ago", "in_bytes", "short_digest", "table", "values"]


def values(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Write `name: value` lines with the values under each other; a pair without a value is left out."""
    told = [(f"{name}:", value) for name, value in pairs if value]
    return align(told, []) if told else []


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, none: str = "") -> list[str]:
    """Write a block with a title; without rows: what `none` says, or nothing at all."""
    listed = [header, *rows]
    if len(listed) == 1:
        return ["", f"{title}: {none}"] if none else []
    return ["", f"{title}:", *(f"  {line}" for line in align(listed, []))]


def ago(stamp: str, now: datetime) -> str:
    """Write the age of a time stamp; `-` where there is none."""
    return to_age((now - from_rfc3339(stamp)).total_seconds()) if stamp else "-"


def in_bytes(size: int) -> str:
    """Write a size with the unit a person would choose."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"


def short_digest(digest: str) -> str:
    """Write as much of a digest as tells it from others."""
    algorithm, colon, rest = digest.partition(":")
    return f"{algorithm}{colon}{rest[:12]}" if rest else digest
