"""Files on disk → documents, with everything that is wrong with their form found before anything is sent.

What is wrong with a document's fields is for the API to say: it holds the schema, the rules and the object's older self.
A `file:./x` URI is relative to the manifest that holds it; it is made absolute here, so that what is stored means the same everywhere.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from graft_core.api.v1alpha1.names import API_VERSION
from graft_core.errors import InvalidInput
from graft_operator.local.fields import Json, as_object, name_of, namespace_of
from graft_operator.local.resources import KINDS, Target, kind_named
from graft_operator.local.yaml_source import parse_yaml

__all__ = ["Document", "Manifests", "read_manifests", "refuse"]

SUFFIXES = (".yaml", ".yml", ".json")
"""Files of a folder that are read."""

URI_KEYS = frozenset({"id", "test", "train", "uri", "validation"})
"""Fields of a spec whose strings are URIs."""

MAX_FILE_BYTES = 4 << 20
"""A manifest larger than this is surely not one; the API refuses objects over 1.5 MB anyway."""

_EXPECTED = "expected an object with apiVersion, kind, metadata and spec"


@dataclass(frozen=True)
class Document:
    """One object as written, and where; it says of itself at least kind and name."""

    origin: str
    body: Json
    target: Target

    @property
    def label(self) -> str:
        """`Kind/name`, as the API names it in what it refuses."""
        return f"{self.target.kind.kind}/{self.target.name}"


@dataclass
class Manifests:
    """What files hold: the documents of good form, and what is wrong with the others, each fault with its file."""

    documents: list[Document] = field(default_factory=list[Document])
    faults: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


def read_manifests(paths: Iterable[str]) -> Manifests:
    """Read every document of files, folders (not recursive, as kubectl) and `-` (standard input).

    Args:
        paths: What was given with -f.

    Returns:
        The documents in order, relative `file:` URIs made absolute, and all faults.
    """
    found = Manifests()
    for file in dict.fromkeys(file for path in paths for file in _files_of(path, found)):
        for origin, body in _bodies_of(file, found):
            _add(found, origin, body, Path.cwd() if file is None else file.resolve().parent)
    if not found.documents and not found.faults:
        found.faults.append(f"no objects found in {', '.join(paths)}; {_EXPECTED}")
    return found


def refuse(faults: Iterable[str], outcome: str = "nothing was changed") -> InvalidInput:
    """Make one error of all faults, a line each, under what follows from them."""
    listed = list(faults)
    if len(listed) == 1:
        return InvalidInput(f"{outcome}: {listed[0]}")
    return InvalidInput("\n  ".join([f"{outcome}; {len(listed)} faults:", *listed]))


def _files_of(path: str, found: Manifests) -> list[Path | None]:
    if path == "-":
        return [None]
    at = Path(path)
    if at.is_dir():
        files = sorted(p for p in at.iterdir() if p.suffix in SUFFIXES and p.is_file())
        if not files:
            found.faults.append(f"{path}: the folder holds no {', '.join(SUFFIXES)} file")
        return list(files)
    if not at.is_file():
        found.faults.append(f"{path}: no such file or folder")
        return []
    return [at]


def _bodies_of(file: Path | None, found: Manifests) -> Iterator[tuple[str, object]]:
    """Yield the objects of one file, those of a List one by one, each with where it stands."""
    origin = "standard input" if file is None else str(file)
    try:
        loaded = parse_yaml(_read_text(file))
    except InvalidInput as error:
        found.faults.append(f"{origin}: {error}")
        return
    except OSError as error:
        found.faults.append(f"{origin}: cannot be read: {error.strerror}")
        return
    for number, value in enumerate(loaded, start=1):
        where = origin if len(loaded) == 1 else f"{origin}, document {number}"
        body = as_object(value)
        if value is None:
            continue
        if body.get("kind") == "List" and isinstance(body.get("items"), list):
            for index, item in enumerate(cast("list[object]", body["items"])):
                yield f"{where}, items[{index}]", item
        else:
            yield where, value


def _read_text(file: Path | None) -> str:
    if file is None:
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise InvalidInput(f"is too large for a manifest; expected at most {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}") from error


def _add(found: Manifests, origin: str, value: object, folder: Path) -> None:
    body = as_object(value)
    if not body:
        found.faults.append(f"{origin}: is a {type(value).__name__}; {_EXPECTED}")
        return
    faults = list(_form_faults(body))
    if faults:
        found.faults += [f"{origin}: {fault}" for fault in faults]
        return
    kind = kind_named(str(body["kind"])) or KINDS[0]
    target = Target(kind, name_of(body), namespace_of(body) if "namespace" in as_object(body["metadata"]) else None)
    twin = next((one for one in found.documents if one.target == target), None)
    if twin is not None:
        found.faults.append(f"{origin}: {kind.kind}/{target.name} is already in {twin.origin}")
        return
    if "status" in body:
        found.warnings.append(f"{origin}: status is Graft's to write; the one in the file is ignored")
        body = {key: held for key, held in body.items() if key != "status"}
    if isinstance(body.get("spec"), dict):
        body = {**body, "spec": _resolve_uris(body["spec"], folder)}
    found.documents.append(Document(origin, body, target))


def _form_faults(body: Json) -> Iterator[str]:
    if body.get("apiVersion") != API_VERSION:
        yield f"apiVersion {_shown(body, 'apiVersion')}; expected {API_VERSION!r}"
    if kind_named(str(body.get("kind"))) is None:
        yield f"kind {_shown(body, 'kind')}; expected {' or '.join(k.kind for k in KINDS)}"
    meta = body.get("metadata")
    if not isinstance(meta, dict):
        yield f"metadata {_shown(body, 'metadata')}; expected an object with a name"
        return
    held = as_object(cast("object", meta))
    if not isinstance(held.get("name"), str) or not held["name"]:
        yield f"metadata.name {_shown(held, 'name')}; expected a name such as 'my-job'"
    if not isinstance(held.get("namespace", ""), str):
        yield f"metadata.namespace {_shown(held, 'namespace')}; expected a name"


def _shown(body: Json, key: str) -> str:
    return f"{str(body[key])[:60]!r} is not known or not usable" if body.get(key) is not None else "is missing"


def _absolute(text: str, folder: Path) -> str:
    rest = text.removeprefix("file:").removeprefix("//")
    if not text.startswith("file:") or rest.startswith("/"):
        return text
    joined = (folder / rest).resolve().as_posix()
    return f"file://{joined}{'/' if rest.endswith('/') else ''}"


def _resolve_uris(value: object, folder: Path, key: str = "") -> object:
    if isinstance(value, str):
        return _absolute(value, folder) if key in URI_KEYS else value
    if isinstance(value, dict):
        return {name: _resolve_uris(item, folder, name) for name, item in cast("Json", value).items()}
    if isinstance(value, list):
        return [_resolve_uris(item, folder, key) for item in cast("list[object]", value)]
    return value
