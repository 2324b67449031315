"""From the URIs of spec.dataset to files on this machine, each looked at before a record is read.

`file://` files are read where they lie; objects of a store are copied to `inputs/` below the run folder first. A file that
changes while it is read is noticed by its size and time stamps, and the whole data set by its digest.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from graft_core.api.v1alpha1.dataset import DatasetSpec
from graft_core.errors import InvalidInput, NotSupported
from graft_core.storage.base import sha256_of_file
from graft_trainer.data.faults import DatasetError
from graft_trainer.data.records import SplitName

__all__ = ["FileKind", "InputFile", "dataset_digest", "open_sources"]


class FileKind(StrEnum):
    """How a file holds records, by its extension."""

    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


_EXTENSIONS: Final = {f".{kind.value}": kind for kind in FileKind} | {".ndjson": FileKind.JSONL}
_MAGIC: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_PARQUET: Final = b"PAR1"
_WILDCARDS: Final = frozenset("*?[]{}")

Fetch = Callable[[str, Path], None]
"""Copy the object behind a URI to a file; raises Unavailable, or InvalidInput where it does not exist."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file, ready to be read."""

    uri: str
    """As the spec writes it; names the file in every message."""
    path: Path
    """Where it is on this machine."""
    kind: FileKind
    split: SplitName
    """Which list of spec.dataset it stands in; `train` is divided further where the others are not given."""
    size: int
    modified_ns: int

    def check_unchanged(self) -> None:
        """Raise DatasetError if the file is another one than when it was opened."""
        now = self.path.stat()
        if (now.st_size, now.st_mtime_ns) != (self.size, self.modified_ns):
            raise DatasetError(
                f"{self.uri} changed while it was read; write data sets under a new name instead of in place",
                path=self.uri,
                reason="DatasetChanged",
            )


def open_sources(spec: DatasetSpec, inputs_dir: Path, fetch: Fetch) -> tuple[InputFile, ...]:
    """Find all files of a data set.

    DatasetError tells by its field what is missing, empty, compressed, a folder, a wildcard, or leads out of its folder; hf:// and
    pvc:// are NotSupported.

    Args:
        spec: Lists of URIs by split.
        inputs_dir: Where objects of a store are copied to.
        fetch: Copies one object; not called for file://.

    Returns:
        The files in the spec's order, train first.

    Raises:
        DatasetError: See above.
    """
    lists: tuple[tuple[SplitName, tuple[str, ...] | None], ...] = (
        ("train", spec.train),
        ("validation", spec.validation),
        ("test", spec.test),
    )
    seen: dict[str, str] = {}
    files: list[InputFile] = []
    for split, uris in lists:
        for i, uri in enumerate(uris or ()):
            field = f"spec.dataset.{split}[{i}]"
            if uri in seen:
                raise DatasetError(f"{field}: {uri!r} is {seen[uri]} already; name each file once", path=field)
            seen[uri] = field
            files.append(_open(uri, split, field, inputs_dir, fetch))
    return tuple(files)


def _open(uri: str, split: SplitName, field: str, inputs_dir: Path, fetch: Fetch) -> InputFile:
    kind = _kind_of(uri, field)
    path = _local_path(uri, field) if uri.startswith("file://") else _fetched(uri, field, inputs_dir, fetch)
    if not path.exists():
        raise DatasetError(f"{field}: {uri!r} does not exist", path=field)
    if not path.is_file():
        raise DatasetError(f"{field}: {uri!r} is not a file; name each file of records", path=field)
    stat = path.stat()
    if stat.st_size == 0:
        raise DatasetError(f"{field}: {uri!r} has 0 bytes; expected records", path=field, reason="EmptyDataset")
    kind = _check_head(uri, path, kind)
    return InputFile(uri, path, kind, split, stat.st_size, stat.st_mtime_ns)


def _kind_of(uri: str, field: str) -> FileKind:
    scheme = uri.partition("://")[0]
    if scheme not in {"file", "s3"}:
        raise NotSupported(f"{field}: {scheme}:// is not supported in this version; use file:// or s3://", path=field)
    name = unquote(urlsplit(uri).path).rpartition("/")[2]
    if _WILDCARDS & set(unquote(uri)):
        raise DatasetError(f"{field}: {uri!r} has a wildcard; name each file (at most 64)", path=field)
    kind = _EXTENSIONS.get(os.path.splitext(name)[1].lower())  # noqa: PTH122 - the name of a URI, no path of this machine
    if kind is None:
        raise DatasetError(
            f"{field}: {uri!r} does not end in {', '.join(sorted(_EXTENSIONS))}; compressed files are not supported",
            path=field,
        )
    return kind


def _local_path(uri: str, field: str) -> Path:
    path = Path(unquote(urlsplit(uri).path))
    if ".." in path.parts or "\x00" in str(path):
        raise DatasetError(f"{field}: {uri!r} must not contain '..' or NUL", path=field)
    # A link may point within its folder (mounted ConfigMaps do that), not out of it: the folder is what was granted.
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise DatasetError(
            f"{field}: {uri!r} is a symbolic link that leaves its folder; copy the file there", path=field
        )
    return path


def _fetched(uri: str, field: str, inputs_dir: Path, fetch: Fetch) -> Path:
    parts = unquote(urlsplit(uri).path).split("/")
    if ".." in parts:
        raise DatasetError(f"{field}: {uri!r} must not contain '..'", path=field)
    inputs_dir.mkdir(parents=True, exist_ok=True)
    path = inputs_dir / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}-{parts[-1][-80:]}"
    try:
        fetch(uri, path)
    except InvalidInput as err:
        raise DatasetError(f"{field}: {err}", path=field, reason=err.reason) from err
    return path


def _check_head(uri: str, path: Path, kind: FileKind) -> FileKind:
    """Look at the first bytes: what they are must be what the name says; only .json may be either of two."""
    with path.open("rb") as file:
        head = file.read(4096)
    for magic, name in _MAGIC:
        if head.startswith(magic):
            raise DatasetError.of_file(
                uri, f"is {name} data named .{kind}; decompress it, compressed files are not supported"
            )
    is_parquet = head.startswith(_PARQUET)
    if is_parquet != (kind is FileKind.PARQUET):
        found = "is Parquet data" if is_parquet else "is no Parquet file (it does not begin with PAR1)"
        raise DatasetError.of_file(uri, f"{found}, but is named .{kind}")
    if kind is FileKind.PARQUET:
        return kind
    if head.startswith(_UTF16):
        raise DatasetError.of_file(uri, "is UTF-16; convert it to UTF-8")
    if b"\x00" in head:
        raise DatasetError.of_file(uri, f"has a NUL at byte {head.index(0) + 1}; expected UTF-8 text")
    is_array = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    if kind is FileKind.JSONL and is_array:
        raise DatasetError.of_file(
            uri, "is a JSON array, not JSON Lines; write one object a line, or name it .json", line=1
        )
    # Much of what is called .json holds JSON Lines.
    return FileKind.JSONL if kind is FileKind.JSON and not is_array else kind


def dataset_digest(files: tuple[InputFile, ...]) -> str:
    """Return sha256:… over `<split> <sha256 of the file>` lines in the spec's order; names and places do not count."""
    lines = "".join(f"{file.split} {sha256_of_file(file.path)}\n" for file in files)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
