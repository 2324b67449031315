import re
from pathlib import Path

import pytest

from tests.docs.pages import anchors_of, links_of, pages
from tests.house import ROOT

OUTSIDE = re.compile(r"^(https?:|mailto:)")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken: list[str] = []
    for target in links_of(page):
        if OUTSIDE.match(target):
            continue
        name, _, anchor = target.partition("#")
        at = page.parent / name if name else page
        if not at.exists() or (anchor and at.suffix == ".md" and anchor not in anchors_of(at)):
            broken.append(target)
    assert broken == []


def test_every_page_of_the_docs_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop().resolve()
        if page in reached or not page.exists():
            continue
        reached.add(page)
        if page.is_dir():
            todo += page.glob("*.md")
        elif page.suffix == ".md":
            todo += [page.parent / link.partition("#")[0] for link in links_of(page) if not OUTSIDE.match(link)]
    missed = [page for page in pages() if page.is_relative_to(ROOT / "docs") and page.resolve() not in reached]
    assert missed == []


def test_the_readme_tells_how_to_test_where_ci_looks_for_it() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    after = lines[lines.index("## Test") :]
    fence = next(i for i, line in enumerate(after) if line.startswith("```"))
    assert after[fence + 1 : fence + 3] == ["make test", "```"]
