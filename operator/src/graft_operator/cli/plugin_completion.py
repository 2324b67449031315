"""What `kubectl graft` completes: kubectl runs `kubectl_complete-graft WORDS... WORD-SO-FAR` and reads a candidate a line.

The last line is cobra's directive: 0 lets the shell offer files too, 4 does not.
"""

import sys

from click.shell_completion import CompletionItem, ShellComplete

from graft_operator.cli.app import COMPLETE_VARIABLE, graft

__all__ = ["candidates", "main"]

FILES, NO_FILES = 0, 4


def candidates(words: list[str]) -> list[str]:
    """Return the lines for the words after `kubectl graft`, of which the last may be empty or unfinished."""
    *before, incomplete = words or [""]
    found = ShellComplete(graft, {}, "kubectl graft", COMPLETE_VARIABLE).get_completions(before, incomplete)
    lines = [_line(one) for one in found if one.type == "plain"]
    return [*lines, f":{FILES if any(one.type != 'plain' for one in found) else NO_FILES}"]


def _line(item: CompletionItem) -> str:
    return f"{item.value}\t{item.help}" if item.help else str(item.value)


def main() -> None:
    """Print the candidates."""
    sys.stdout.write("\n".join(candidates(sys.argv[1:])) + "\n")
