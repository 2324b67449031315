"""Durations and ages as kubectl writes them: `90s`, `10m`, `1h30m`; `5d3h`."""

import re

from graft_core.errors import InvalidInput

__all__ = ["parse_duration_s", "to_age"]

_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")


def parse_duration_s(text: str) -> float:
    """Read a duration into seconds; a bare number is seconds, and what is not a duration is InvalidInput."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _PART.sub("", text):
        raise InvalidInput(f"{text!r} is not a duration; expected e.g. 90s, 10m or 1h30m")
    return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))


def to_age(seconds: float) -> str:
    """Write an age in at most two units, coarser the older it is."""
    whole = max(0, int(seconds))
    if whole < 120:  # kubectl shows seconds up to two minutes
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if days < 2:
        return f"{hours}h"
    return f"{days}d{hours % 24}h" if days < 8 and hours % 24 else f"{days}d"
