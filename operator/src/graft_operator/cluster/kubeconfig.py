"""A kubeconfig: which server, and which proof of who asks. What this client can't honour is refused by its name, never passed over.

Of several files (KUBECONFIG is a list, as PATH is) the first that names a thing wins, as with kubectl; files that are missing are passed
over where another one is there. Paths within a file are relative to its folder.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import yaml

from graft_core.errors import InvalidInput, NotSupported
from graft_operator.reconcile.kube.parts import parts, text

__all__ = ["KubeconfigUser", "Section", "read_section_pem", "read_text", "resolve"]

Section = dict[str, Any]

_UNSUPPORTED: Final = {
    "clusters": {
        "proxy-url": "reach the API server without a proxy, or through one that needs no word in the kubeconfig"
    },
    "users": {
        "auth-provider": "use exec, a token or a client certificate; kubectl has dropped it too",
        "as": "log in as that user",
        "as-uid": "log in as that user",
        "as-groups": "log in as a member of these groups",
        "as-user-extra": "log in as that user",
    },
}
"""Fields that would change where or as whom one speaks, and what to do instead."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One named entry, and the file it stands in."""

    file: Path
    place: str
    """Such as `clusters['kind'].cluster`."""
    section: Section = field(default_factory=dict[str, Any])

    def fail(self, name: str, value: object, expected: str) -> InvalidInput:
        """Name the file, the field, what stands there and what was expected; never a secret's value."""
        return InvalidInput(
            f"kubeconfig {self.file}: {self.place}.{name} {value}; expected {expected}", path=f"{self.place}.{name}"
        )


@dataclass(frozen=True, slots=True)
class KubeconfigUser:
    """What a context of a kubeconfig means, credential plugins not yet run."""

    origin: str
    """Such as `context 'kind' of kubeconfig ~/.kube/config`."""
    namespace: str
    server: str
    ca: str = field(repr=False)
    is_insecure: bool
    server_name: str
    user: Section = field(repr=False)
    """The user's entry as it stands."""
    user_field: str
    """Such as `users['me'].user`."""
    file: Path
    """Where the user's entry stands."""


def resolve(files: Sequence[Path], context: str) -> KubeconfigUser:
    """Find server and user of a context; NotSupported where a field asks for what is not built.

    Args:
        files: At least one.
        context: Its name; empty: the current one.

    Returns:
        What it means.

    Raises:
        InvalidInput: A file can't be read, an entry is missing, or a field makes no sense.
    """
    loaded = [(file, _load(file)) for file in _present(files)]
    name = context or next((text(body, "current-context") for _, body in loaded if body.get("current-context")), "")
    if not name:
        raise InvalidInput(
            f"kubeconfig {_told(files)} has no current-context; name one with --context or `kubectl config use-context`",
            path="current-context",
        )
    chosen = _find(loaded, "contexts", name, files)
    cluster = _find(loaded, "clusters", text(chosen.section, "cluster"), files)
    wanted = text(chosen.section, "user")
    user = _find(loaded, "users", wanted, files) if wanted else _Entry(chosen.file, "users")
    return KubeconfigUser(
        origin=f"context {name!r} of kubeconfig {chosen.file}",
        namespace=text(chosen.section, "namespace") or "default",
        server=_server(cluster),
        ca=read_section_pem(cluster.section, "certificate-authority", cluster.file, cluster.place),
        is_insecure=_flag(cluster, "insecure-skip-tls-verify"),
        server_name=text(cluster.section, "tls-server-name"),
        user=user.section,
        user_field=user.place,
        file=user.file,
    )


def read_section_pem(section: Section, name: str, file: Path, within: str) -> str:
    """Read what stands under `NAME-data` in base64, or in the file that `NAME` names; empty where there is neither."""
    if data := section.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True).decode()
        except (binascii.Error, ValueError) as error:
            entry = _Entry(file, within)
            raise entry.fail(
                f"{name}-data", "is not base64 of a PEM text", "what `kubectl config view --raw` shows"
            ) from error
    return read_text(file.parent / str(section[name])) if section.get(name) else ""


def read_text(path: Path) -> str:
    """Read a file; `InvalidInput` where it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read ({error.strerror}); in a pod mount a service account, elsewhere name a kubeconfig"
            " with KUBECONFIG",
            path=str(path),
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text (byte {error.start})", path=str(path)) from error


def _present(files: Sequence[Path]) -> Sequence[Path]:
    found = [file for file in files if file.exists()]
    return found or files[:1]


def _load(file: Path) -> Section:
    try:
        loaded: object = yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        raise InvalidInput(f"kubeconfig {file} is not YAML; expected what `kubectl config view` shows") from error
    if loaded is not None and not isinstance(loaded, dict):
        raise InvalidInput(
            f"kubeconfig {file} is a {type(loaded).__name__}; expected an object, as `kubectl config view` shows"
        )
    return cast("Section", loaded or {})


def _find(loaded: Sequence[tuple[Path, Section]], plural: str, name: str, files: Sequence[Path]) -> _Entry:
    singular = plural.removesuffix("s")
    known: list[str] = []
    for file, body in loaded:
        for entry in parts(body, plural):
            known.append(text(entry, "name"))
            held: object = entry.get(singular)
            if known[-1] == name and isinstance(held, dict):
                return _checked(_Entry(file, f"{plural}[{name!r}].{singular}", cast("Section", held)), plural)
    raise InvalidInput(
        f"kubeconfig {_told(files)} has no {singular} {name!r}, expected one of {sorted(set(known))};"
        " choose a context that is there",
        path=plural,
    )


def _checked(entry: _Entry, plural: str) -> _Entry:
    for name, instead in _UNSUPPORTED.get(plural, {}).items():
        if entry.section.get(name):
            raise NotSupported(
                f"kubeconfig {entry.file}: {entry.place}.{name} is not supported; {instead}",
                path=f"{entry.place}.{name}",
            )
    return entry


def _server(cluster: _Entry) -> str:
    server = text(cluster.section, "server")
    if not server.startswith(("https://", "http://")):
        found = "is missing" if not server else f"{server!r} is not the URL of a server"
        raise cluster.fail("server", found, "e.g. https://10.0.0.1:6443")
    return server.rstrip("/")


def _flag(entry: _Entry, name: str) -> bool:
    value: object = entry.section.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise entry.fail(name, repr(value), "true or false")


def _told(files: Sequence[Path]) -> str:
    return ", ".join(map(str, files))
