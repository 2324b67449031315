"""pydoclint, without its wish for sections that would only repeat the signature.

Once a docstring has one section pydoclint asks for all of them. Here a docstring says what the signature cannot, which
may be a `Raises:` alone; a section that is there must be whole. `Raises:` may also name what a called function raises.
Use: `python scripts/check_docstrings.py PATH...`
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

SECTION_OF = {
    "DOC101": "Args",
    "DOC103": "Args",
    "DOC201": "Returns",
    "DOC402": "Yields",
    "DOC404": "Yields",
    "DOC501": "Raises",
    "DOC503": "Raises",
}
"""The section whose absence alone is no fault, by the violation that pydoclint reports."""

RAISES = re.compile(r"in the docstring: \[(?P<told>.*?)\]\. Raised exceptions in the body: \[(?P<raised>.*?)\]")
"""What DOC503 says: lists of quoted names."""

VIOLATION = re.compile(r"^(?P<path>.+?):(?P<line>\d+): (?P<code>DOC\d+): ")


def main(paths: list[str]) -> int:
    """Print what stays of pydoclint's findings; 1 where something does."""
    program = Path(sys.executable).with_name("pydoclint")
    done = subprocess.run([program, "--quiet", *paths], check=False, capture_output=True, text=True)
    found = [(line, match) for line in done.stderr.splitlines() if (match := VIOLATION.match(line))]
    if done.returncode and not found:
        # It failed for another reason, such as a syntax error in a file.
        print(done.stdout, done.stderr, sep="\n")
        return done.returncode
    sections = {path: sections_by_line(Path(path)) for path in {match["path"] for _, match in found}}
    kept = [line for line, match in found if is_fault(match, sections[match["path"]])]
    print(*kept, sep="\n", end="\n" if kept else "")
    return 1 if kept else 0


def is_fault(match: re.Match[str], sections: dict[int, set[str]]) -> bool:
    """Whether the violation is about more than a section that was left out."""
    if match["code"] == "DOC502":
        # No raise statement in the body: what is told of is raised by a function it calls.
        return False
    if match["code"] == "DOC503" and not untold(match.string):
        return False
    section = SECTION_OF.get(match["code"])
    return section is None or section in sections.get(int(match["line"]), {section})


def untold(message: str) -> set[str]:
    """Exception classes a body raises and its `Raises:` leaves out; a re-raise or a raised call names no class."""
    lists = RAISES.search(message)
    assert lists is not None, message
    told, raised = (set(re.findall(r"'([^']+)'", lists[name])) for name in ("told", "raised"))
    classes = {name for name in raised if name.rpartition(".")[2][:1].isupper()}
    return classes - told - {"BaseException", "Exception"}


def sections_by_line(path: Path) -> dict[int, set[str]]:
    """The docstring sections of every function and class, by the lines pydoclint may name them by."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    return {
        line: set(re.findall(r"^ *(Args|Returns|Yields|Raises):$", ast.get_docstring(node) or "", re.MULTILINE))
        for node in nodes
        for line in (node.lineno, *(decorator.lineno for decorator in node.decorator_list))
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
