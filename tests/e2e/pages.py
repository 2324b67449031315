"""Code blocks of the documentation by name, so that tests follow a page to the letter: the block ```sh apply is `apply`."""

import re
from pathlib import Path

__all__ = ["blocks_of"]

DOCS = Path(__file__).parents[2] / "docs"


def blocks_of(page: str) -> dict[str, str]:
    """Read the named blocks of a page below docs/."""
    found = re.findall(
        r"^```\w+ (\S+)\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return dict(found)
