"""How people name objects on the command line: kinds with their short names, `kind/name`, and comma lists, as kubectl takes them."""

from dataclasses import dataclass

from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB, KIND_MODELRELEASE, PLURALS
from graft_core.errors import InvalidInput

__all__ = ["KINDS", "Kind", "Target", "find_kind", "parse_kinds", "parse_targets"]


@dataclass(frozen=True)
class Kind:
    """One kind of object and the words for it."""

    kind: str
    plural: str
    singular: str
    short: str


KINDS = (
    Kind(KIND_FINETUNEJOB, PLURALS[KIND_FINETUNEJOB], "finetunejob", "ftj"),
    Kind(KIND_MODELRELEASE, PLURALS[KIND_MODELRELEASE], "modelrelease", "mr"),
)


@dataclass(frozen=True)
class Target:
    """An object that was named."""

    kind: Kind
    name: str

    @property
    def label(self) -> str:
        """`plural/name`, as kubectl prints it."""
        return f"{self.kind.plural}/{self.name}"


def find_kind(word: str) -> Kind:
    """Find the kind for one word; InvalidInput where there is none of that name."""
    lower = word.lower().removesuffix(".graft.dev")
    for kind in KINDS:
        if lower in {kind.plural, kind.singular, kind.short}:
            return kind
    known = ", ".join(f"{k.plural} ({k.short})" for k in KINDS)
    raise InvalidInput(f"the resource type {word!r} is not known; expected one of {known}, or all")


def parse_kinds(text: str) -> tuple[Kind, ...]:
    """Read `ftj`, `ftj,mr`, `all` or `graft` (the category) into kinds, each once."""
    if text.lower() in {"all", "graft"}:
        return KINDS
    return tuple(dict.fromkeys(find_kind(word) for word in text.split(",") if word))


def parse_targets(args: tuple[str, ...]) -> tuple[Target, ...]:
    """Read `kind name…` or `kind/name…` into targets.

    Args:
        args: The words after the command.

    Returns:
        At least one target.

    Raises:
        InvalidInput: No name is given, or both forms are mixed.
    """
    if args and all("/" in word for word in args):
        pairs = [word.split("/", 1) for word in args]
        return tuple(Target(find_kind(kind), _named(name, kind)) for kind, name in pairs)
    if len(args) < 2 or any("/" in word for word in args):  # a kind and at least one name
        raise InvalidInput(
            f"cannot tell which object is meant by {' '.join(args)!r}; expected KIND NAME or KIND/NAME, e.g. ftj/my-job"
        )
    kind = find_kind(args[0])
    return tuple(Target(kind, _named(name, args[0])) for name in args[1:])


def _named(name: str, kind: str) -> str:
    if not name:
        raise InvalidInput(f"a name is missing after {kind}/; expected e.g. {kind}/my-job")
    return name
