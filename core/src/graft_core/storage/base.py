"""What Graft asks of object storage: seven verbs, with create-if-absent and digests checked on every read that names one."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

__all__ = ["CHUNK_BYTES", "ObjectInfo", "ObjectStore", "sha256_of_bytes", "sha256_of_file"]

CHUNK_BYTES: Final = 8 * 1024 * 1024
"""Bytes in memory at a time while an object is streamed."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of one object."""

    key: str
    size_bytes: int


class ObjectStore(Protocol):
    """One bucket, or the file system. Thread-safe; every verb may be run again after a crash.

    Missing objects are InvalidInput with reason `NotFound`, refused credentials with reason `AccessDenied`, a store that does not
    answer is Unavailable, bytes that are not those that were asked for are Corrupt.
    """

    def uri_of(self, key: str) -> str:
        """Return the URI of a key."""
        ...

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object, whole or not at all; a file is streamed."""
        ...

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one.

        True where this call made it, False where it holds these very bytes already (a retry after a lost answer); raises Conflict where
        it holds others. Of two writers at a time one wins.
        """
        ...

    def read(self, key: str, *, sha256: str | None = None) -> bytes:
        """Return a small object; raises Corrupt where the bytes have another SHA-256 (64 hex digits) than named."""
        ...

    def fetch(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Stream an object into a file, which appears whole and verified or not at all."""
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """Return the object's size, or None where there is none."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below a folder, in no order; half-written ones never show."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...


def sha256_of_bytes(data: bytes) -> str:
    """Return 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return 64 hex digits over a file's bytes; reads in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
