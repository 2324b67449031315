"""Files on disk → documents, with everything that is wrong with them found before anything is sent.

A `file:./x` or `file:x` URI is relative to the manifest that holds it; it is made absolute here, so that what is stored means the same everywhere.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from graft_core.errors import InvalidInput

__all__ = ["Document", "read_documents"]

SUFFIXES = (".yaml", ".yml", ".json")
"""Files of a folder that are read."""

URI_KEYS = frozenset({"id", "test", "train", "uri", "validation"})
"""Fields whose strings are URIs."""

MAX_FILE_BYTES = 4 << 20
"""A manifest larger than this is surely not one; the API refuses objects over 1.5 MB anyway."""


@dataclass(frozen=True)
class Document:
    """One object as written, and where."""

    origin: str
    body: dict[str, Any]

    @property
    def label(self) -> str:
        """`kind/name` as far as the document says."""
        meta = self.body.get("metadata")
        name = meta.get("name", "?") if isinstance(meta, Mapping) else "?"
        return f"{str(self.body.get('kind', '?')).lower()}/{name}"


class _StrictLoader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]  # the base is chosen at import
    """YAML without duplicate keys; the time stamps and octal traps of YAML 1.1 stay strings."""


def _construct_mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is not a string; quote it (line {line})", key_node.start_mark
            )
        if key in mapping:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} appears twice (line {line})", key_node.start_mark
            )
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))


def read_documents(paths: Iterable[str]) -> tuple[Document, ...]:
    """Read every document of files, folders (not recursive, as kubectl) and `-` (standard input).

    Args:
        paths: What was given with -f.

    Returns:
        The documents in order, relative `file:` URIs made absolute.

    Raises:
        InvalidInput: Any file can't be read or parsed, holds no object, or two documents name the same object; all faults in one message.
    """
    documents: list[Document] = []
    faults: list[str] = []
    for path in paths:
        for file in _files_of(path, faults):
            documents.extend(_documents_of(file, faults))
    if not documents and not faults:
        faults.append("no objects found; expected files with kind: FineTuneJob or ModelRelease")
    seen: dict[tuple[str, str, str], str] = {}
    for document in documents:
        key = _identity(document.body)
        if key in seen:
            faults.append(f"{document.origin}: {document.label} appears twice; it is also in {seen[key]}")
        seen.setdefault(key, document.origin)
    if faults:
        raise InvalidInput("\n".join(faults))
    return tuple(documents)


def _identity(body: Mapping[str, Any]) -> tuple[str, str, str]:
    meta = body.get("metadata")
    meta = meta if isinstance(meta, Mapping) else {}
    return str(body.get("kind")), str(meta.get("namespace", "default")), str(meta.get("name"))


def _files_of(path: str, faults: list[str]) -> list[Path | None]:
    if path == "-":
        return [None]
    at = Path(path)
    if at.is_dir():
        found = sorted(p for p in at.iterdir() if p.suffix in SUFFIXES and p.is_file())
        if not found:
            faults.append(f"{path}: the folder holds no {', '.join(SUFFIXES)} file")
        return list(found)
    if not at.is_file():
        faults.append(f"{path}: no such file or folder")
        return []
    return [at]


def _documents_of(file: Path | None, faults: list[str]) -> Iterator[Document]:
    origin = "standard input" if file is None else str(file)
    folder = Path.cwd() if file is None else file.resolve().parent
    try:
        text = sys.stdin.read(MAX_FILE_BYTES + 1) if file is None else _read_text(file)
        loaded = list(yaml.load_all(text, Loader=_StrictLoader))  # _StrictLoader is a safe loader
    except (OSError, UnicodeDecodeError, InvalidInput, RecursionError) as error:
        faults.append(f"{origin}: cannot be read: {error}")
        return
    except yaml.YAMLError as error:
        faults.append(f"{origin}: is not valid YAML: {_yaml_fault(error)}")
        return
    for index, body in enumerate(loaded):
        if body is None:
            continue
        where = origin if len(loaded) == 1 else f"{origin}, document {index + 1}"
        if not isinstance(body, dict):
            faults.append(
                f"{where}: is a {type(body).__name__}; expected an object with apiVersion, kind, metadata and spec"
            )
            continue
        items = body.get("items") if body.get("kind") == "List" else None
        for one in items if isinstance(items, list) else [body]:
            if not isinstance(one, dict):
                faults.append(f"{where}: an item of the List is a {type(one).__name__}; expected an object")
                continue
            yield Document(where, {key: _resolve_uris(value, folder, key) for key, value in one.items()})


def _read_text(file: Path) -> str:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise InvalidInput(
            f"{file.stat().st_size} bytes is too large for a manifest; expected at most {MAX_FILE_BYTES}"
        )
    return file.read_text(encoding="utf-8-sig")


def _yaml_fault(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    return str(error)


def _absolute(text: str, folder: Path) -> str:
    if not text.startswith("file:") or text.startswith("file:/"):
        return text
    rest = text.removeprefix("file:")
    joined = (folder / rest).resolve().as_posix()
    return f"file://{joined}{'/' if rest.endswith('/') else ''}"


def _resolve_uris(value: object, folder: Path, key: str = "") -> object:
    if isinstance(value, str):
        return _absolute(value, folder) if key in URI_KEYS else value
    if isinstance(value, dict):
        return {name: _resolve_uris(item, folder, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_resolve_uris(item, folder, key) for item in value]
    return value
