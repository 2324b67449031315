"""How people name objects on the command line: kinds with their short names, `kind/name`, and comma lists, as kubectl takes them."""

from dataclasses import dataclass

from graft_core.api.v1alpha1.columns import SHORT_NAMES
from graft_core.api.v1alpha1.names import GROUP, PLURALS
from graft_core.errors import InvalidInput

__all__ = ["KINDS", "Kind", "Target", "find_kind", "kind_named", "parse_kinds", "parse_one", "parse_targets"]


@dataclass(frozen=True)
class Kind:
    """One kind of object and the words for it."""

    kind: str
    plural: str
    singular: str
    short: str


@dataclass(frozen=True)
class Target:
    """An object that was named."""

    kind: Kind
    name: str
    namespace: str | None = None
    """Namespace a file names; None: that of the command."""

    @property
    def label(self) -> str:
        """`plural/name`."""
        return f"{self.kind.plural}/{self.name}"

    @property
    def resource(self) -> str:
        """`singular.group/name`, as kubectl prints what it has done."""
        return f"{self.kind.singular}.{GROUP}/{self.name}"


KINDS = tuple(Kind(kind, plural, kind.lower(), SHORT_NAMES[kind]) for kind, plural in PLURALS.items())
"""The kinds there are, in the order they are shown."""


def find_kind(word: str) -> Kind:
    """Find the kind for one word; InvalidInput where there is none of that name."""
    lower = word.lower().removesuffix(f".{GROUP}")
    for kind in KINDS:
        if lower in {kind.plural, kind.singular, kind.short}:
            return kind
    known = ", ".join(f"{k.plural} ({k.short})" for k in KINDS)
    raise InvalidInput(f"the resource type {word!r} is not known; expected one of {known}, or all")


def kind_named(name: str) -> Kind | None:
    """Find the kind that a document calls `name`, letter by letter; None where there is none."""
    return next((kind for kind in KINDS if kind.kind == name), None)


def parse_kinds(text: str) -> tuple[Kind, ...]:
    """Read `ftj`, `ftj,mr`, `all` or `graft` (the category) into kinds, each once."""
    if text.lower() in {"all", "graft"}:
        return KINDS
    return tuple(dict.fromkeys(find_kind(word) for word in text.split(",")))


def parse_targets(args: tuple[str, ...]) -> tuple[Target, ...]:
    """Read `kind name…` or `kind/name…` into targets.

    Args:
        args: The words after the command.

    Returns:
        At least one target, each once.

    Raises:
        InvalidInput: No name is given, or both forms are mixed.
    """
    if args and all("/" in word for word in args):
        pairs = [word.split("/", 1) for word in args]
        return tuple(dict.fromkeys(Target(find_kind(kind), _named(name, kind)) for kind, name in pairs))
    if len(args) < 2 or any("/" in word for word in args):  # a kind and at least one name
        raise InvalidInput(
            f"cannot tell which object is meant by {' '.join(args)!r}; expected KIND NAME or KIND/NAME, e.g. ftj/my-job"
        )
    kind = find_kind(args[0])
    return tuple(dict.fromkeys(Target(kind, _named(name, args[0])) for name in args[1:]))


def parse_one(args: tuple[str, ...], kind: str) -> Target:
    """Read one object of a kind that need not be said: `name`, `kind/name` or `kind name`; InvalidInput for anything else."""
    known = next(one for one in KINDS if one.kind == kind)
    targets = (Target(known, args[0]),) if len(args) == 1 and "/" not in args[0] else parse_targets(args)
    if len(targets) != 1 or targets[0].kind != known:
        raise InvalidInput(f"{' '.join(args)!r} is not one {known.singular}; expected e.g. {known.short}/my-name")
    return targets[0]


def _named(name: str, kind: str) -> str:
    if not name or "/" in name:
        raise InvalidInput(f"{name!r} after {kind}/ is not a name; expected e.g. {kind}/my-job")
    return name
