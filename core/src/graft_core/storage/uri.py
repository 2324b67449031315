"""Storage URIs: `file:///path` and `s3://bucket/key`, and nothing that could mean something else.

No credentials, query, fragment, `.` or `..`, empty segment, white space or control character: a URI comes from whoever may apply an
object, and ends up in paths, requests, logs and manifests.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from graft_core.errors import InvalidInput, NotSupported

__all__ = ["StorageUri", "parse_uri"]

_BUCKET: Final = re.compile(r"[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]")
_FORBIDDEN: Final = re.compile(r"[\s\\?#\x00-\x1f\x7f]")
MAX_URI_CHARS: Final = 2048
"""S3 keys end at 1,024 bytes; anything longer is a mistake."""


@dataclass(frozen=True, slots=True)
class StorageUri:
    """A place in a store."""

    scheme: Literal["file", "s3"]
    bucket: str
    """Empty for file."""
    key: str
    """Without slashes at either end; for file the path without its leading slash."""

    def __str__(self) -> str:
        """Write it as a user would."""
        return f"{self.scheme}://{self.bucket}/{self.key}"

    def join(self, *parts: str) -> "StorageUri":
        """Return the place below this one."""
        return parse_uri("/".join([str(self).rstrip("/"), *parts]))


def parse_uri(uri: str, *, path: str = "") -> StorageUri:
    """Read a URI.

    Args:
        uri: `file:///…` or `s3://bucket/…`; one slash at the end is allowed.
        path: Field path for the faults.

    Returns:
        Its parts.

    Raises:
        InvalidInput: It is malformed or ambiguous; credentials in it are not quoted.
        NotSupported: Its scheme is not one of those that this version reads.
    """
    scheme, sep, rest = uri.partition("://")
    authority, _, key = rest.partition("/")
    if "@" in authority:
        raise InvalidInput("a URI must not hold credentials; reference a Secret instead", path=path)
    shown = repr(uri[:200])
    if not sep or len(uri) > MAX_URI_CHARS or _FORBIDDEN.search(uri):
        raise InvalidInput(
            f"{shown} is not a storage URI; expected file:///path or s3://bucket/key without white space, '\\', '?' or '#'",
            path=path,
        )
    if scheme not in {"file", "s3"}:
        raise NotSupported(
            f"{shown}: scheme {scheme!r} is not supported in this version; use file:/// or s3://", path=path
        )
    if scheme == "file" and authority:
        raise InvalidInput(f"{shown}: a file URI has three slashes and no host", path=path)
    if scheme == "s3" and not _BUCKET.fullmatch(authority):
        raise InvalidInput(f"{shown}: {authority!r} is not a bucket name (3 to 63 of a-z, 0-9, '-', '.')", path=path)
    key = key.removesuffix("/")
    if key and any(part in {"", ".", ".."} for part in key.split("/")):
        raise InvalidInput(f"{shown}: empty segments, '.' and '..' are not allowed", path=path)
    return StorageUri(cast("Literal['file', 's3']", scheme), authority, key)
