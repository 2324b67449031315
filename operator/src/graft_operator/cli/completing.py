"""What the shell is offered after TAB: kinds, and names of objects from the server, quickly or not at all."""

import threading
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from graft_core.errors import GraftError
from graft_operator.cli.connection import open_session, wanted_of
from graft_operator.local.fields import as_list, name_of, text
from graft_operator.local.resources import KINDS, Kind, find_kind

__all__ = ["complete_goals", "complete_objects", "complete_releases"]

PATIENCE_S = 0.5
"""A person who pressed TAB does not wait longer."""

GOALS = {
    "finetunejob": ("condition=Complete", "condition=Failed", "condition=Published"),
    "modelrelease": ("condition=Ready", "condition=Released"),
}
"""Ends worth waiting for, by kind."""


def complete_objects(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer kinds, `kind/name`, or after a kind its names."""
    given = _words(ctx.params.get(str(param.name)))
    if given and "/" not in given[0]:
        return _matching((name for kind in _kinds_of(given[0]) for name in _names(ctx, kind)), incomplete)
    word, slash, _ = incomplete.partition("/")
    if slash:
        return _matching((f"{word}/{name}" for kind in _kinds_of(word) for name in _names(ctx, kind)), incomplete)
    if given:  # further KIND/NAME words
        return _matching((f"{kind.short}/{name}" for kind in KINDS for name in _names(ctx, kind)), incomplete)
    return _matching(
        (spelling for kind in KINDS for spelling in (kind.short, kind.plural, f"{kind.short}/")), incomplete
    )


def complete_releases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer releases as `mr/name`."""
    del param
    release = find_kind("mr")
    return _matching((f"{release.short}/{name}" for name in _names(ctx, release)), incomplete)


def complete_goals(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what `--for` takes."""
    del param
    # In the middle of an option click has not sorted the words yet.
    given = _words(ctx.params.get("what")) or tuple(word for word in ctx.args if not word.startswith("-"))
    kinds = _kinds_of(given[0].partition("/")[0]) if given else KINDS
    goals = [goal for kind in kinds for goal in GOALS[kind.singular]]
    return _matching([*goals, "delete", "jsonpath="], incomplete)


def _words(value: object) -> tuple[str, ...]:
    return tuple(str(word) for word in as_list(value))


def _kinds_of(word: str) -> tuple[Kind, ...]:
    try:
        return (find_kind(word),)
    except GraftError:
        return ()


def _names(ctx: click.Context, kind: Kind) -> tuple[str, ...]:
    """Ask the server for names; nothing where there is none or it is slow."""
    wanted = wanted_of(ctx)
    found: list[str] = []

    def ask() -> None:
        try:
            items = open_session(wanted).list_objects(kind).items
            found.extend(name_of(one) for one in items if text(one, "metadata", "name"))
        except GraftError:
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return tuple(found)


def _matching(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in dict.fromkeys(words) if word.startswith(incomplete)]
