"""Markdown pages of the repository and the fenced blocks in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.house import ROOT, tracked_files

__all__ = ["Block", "anchors_of", "blocks", "links_of", "pages"]

FENCE = re.compile(r"^ *```(?P<info>[^\n`]*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    name: str
    """Second word of the info string: the file that a reader saves it as, or the step it is."""
    body: str

    @property
    def where(self) -> str:
        """Page and line, as a test shows them."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def pages() -> tuple[Path, ...]:
    """Every Markdown page that git tracks."""
    return tuple(path for path in tracked_files() if path.suffix == ".md")


@cache
def blocks() -> tuple[Block, ...]:
    """Every fenced block of every page."""
    return tuple(block for page in pages() for block in _blocks_of(page))


def links_of(page: Path) -> list[str]:
    """Return the targets of a page's links."""
    text = re.sub(r"(`+)[^\n]+?\1", "code", _without_blocks(page))  # a pattern in code may look like a link
    return [match["target"] for match in LINK.finditer(text)]


def _without_blocks(page: Path) -> str:
    """Return a page without its fenced blocks; links may hold code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ +(.+)$", _without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        words = [*match["info"].split(), "", ""]
        yield Block(page, text.count("\n", 0, match.start()) + 1, words[0], words[1], match["body"])
