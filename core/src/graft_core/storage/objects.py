"""`file://` and `s3://` through obstore (the Rust crate object_store).

Seen of obstore 0.12 on a folder: it writes `<name>#<n>`, then renames (put) or links (create) it, and lists leave such names out; a
process killed at any moment never leaves a half object under its name. It does not sync, so this module does before `put` returns.
"""

import hashlib
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore import exceptions as ob
from obstore.store import LocalStore, S3Store

from graft_core.errors import Conflict, Corrupt, InvalidInput, Unavailable
from graft_core.storage.base import CHUNK_BYTES, ObjectInfo, ObjectStore, sha256_of_bytes
from graft_core.storage.uri import StorageUri, parse_uri

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

__all__ = ["BucketStore", "FolderStore", "open_store"]

_TIMEOUTS: Final["ClientConfig"] = {"connect_timeout": "5s", "timeout": "60s"}
"""A store that is gone is noticed in seconds; a chunk on a slow line still passes."""
_RETRY: Final["RetryConfig"] = {"max_retries": 4}
"""obstore backs off with jitter; what remains is Unavailable, and the caller's own retry."""


def open_store(uri: str, env: Mapping[str, str] | None = None, *, path: str = "") -> tuple[ObjectStore, str]:
    """Open the store that a URI lies in. Nothing is contacted yet.

    Args:
        uri: `file:///…` or `s3://bucket/…`.
        env: Credentials and endpoint as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL;
            unset: the process's environment. Without keys, the instance's or pod's own identity is used.
        path: Field path for faults in the URI.

    Returns:
        The store, and the key or prefix that the URI names in it (no slash at its ends).
    """
    place = parse_uri(uri, path=path)
    if place.scheme == "file":
        return FolderStore(), place.key
    return BucketStore(place.bucket, os.environ if env is None else env), place.key


class _Store:
    """The verbs that both kinds share."""

    def __init__(self, store: LocalStore | S3Store, root: StorageUri) -> None:
        self._store = store
        self._root = root

    def uri_of(self, key: str) -> str:
        """Return the URI of a key."""
        return str(StorageUri(self._root.scheme, self._root.bucket, key))

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object, whole or not at all; a file is streamed."""
        with self._told(key):
            obstore.put(self._store, key, data, chunk_size=CHUNK_BYTES)
        self._sync(key)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one; see ObjectStore."""
        try:
            with self._told(key):
                obstore.put(self._store, key, data, mode="create")
        except Conflict:
            if self.read(key) == data:
                return False
            raise
        self._sync(key)
        return True

    def read(self, key: str, *, sha256: str | None = None) -> bytes:
        """Return a small object, verified where a digest is named."""
        with self._told(key):
            data = bytes(obstore.get(self._store, key).bytes())
        self._verify(key, sha256_of_bytes(data), sha256)
        return data

    def fetch(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Stream an object into a file, which appears whole and verified or not at all."""
        digest = hashlib.sha256()
        part = path.with_name(f"{path.name}.part-{os.getpid()}")
        try:
            with self._told(key), part.open("wb") as file:
                for chunk in obstore.get(self._store, key).stream(min_chunk_size=CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
            self._verify(key, digest.hexdigest(), sha256)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def stat(self, key: str) -> ObjectInfo | None:
        """Return the object's size, or None where there is none."""
        try:
            with self._told(key):
                found = obstore.head(self._store, key)
        except InvalidInput as err:
            if err.reason == "NotFound":
                return None
            raise
        return ObjectInfo(found["path"], found["size"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below a folder."""
        with self._told(prefix):
            pages: Iterator[Sequence[obstore.ObjectMeta]] = obstore.list(self._store, prefix or None)  # pyright: ignore[reportUnknownMemberType]  # its stub names Arrow's optional types
            for page in pages:
                yield from (ObjectInfo(found["path"], found["size"]) for found in page)

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        try:
            with self._told(key):
                obstore.delete(self._store, key)
        except InvalidInput as err:
            if err.reason != "NotFound":
                raise

    def _sync(self, key: str) -> None:
        """Make a write survive a power cut; a bucket has done so before it answers."""

    def _verify(self, key: str, actual: str, expected: str | None) -> None:
        if expected is not None and actual != expected:
            raise Corrupt(
                f"{self.uri_of(key)} has SHA-256 {actual}, expected {expected}; it was changed or damaged after it was written"
            )

    @contextmanager
    def _told(self, key: str) -> Generator[None]:
        """Translate what obstore and the system raise, naming the object."""
        at = self.uri_of(key)
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as err:
            raise InvalidInput(f"{at}: there is no such object", reason="NotFound") from err
        except (ob.AlreadyExistsError, ob.PreconditionError) as err:
            raise Conflict(f"{at} is there already") from err
        except (PermissionError, ob.PermissionDeniedError, ob.UnauthenticatedError) as err:
            raise InvalidInput(
                f"{at}: access denied; check the credentials and their rights", reason="AccessDenied"
            ) from err
        except (ValueError, ob.InvalidPathError, ob.NotSupportedError) as err:
            raise InvalidInput(f"{at}: {_first_line(err)}") from err
        except (ob.BaseError, OSError) as err:
            raise Unavailable(f"{at}: {_first_line(err)}") from err


class FolderStore(_Store):
    """The file system; a key is an absolute path without its leading slash."""

    def __init__(self) -> None:
        super().__init__(LocalStore(), StorageUri("file", "", ""))

    def _sync(self, key: str) -> None:
        path = Path("/") / key
        for target in (path, path.parent):
            handle = os.open(target, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


class BucketStore(_Store):
    """One bucket of an S3-compatible service that knows conditional writes (If-None-Match)."""

    def __init__(self, bucket: str, env: Mapping[str, str]) -> None:
        super().__init__(
            S3Store(bucket, config=_s3_config(env), client_options=_client_options(env), retry_config=_RETRY),
            StorageUri("s3", bucket, ""),
        )


def _endpoint(env: Mapping[str, str]) -> str:
    return env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or ""


def _s3_config(env: Mapping[str, str]) -> "S3Config":
    config: S3Config = {
        "region": env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1",
        "conditional_put": "etag",
    }
    if env.get("AWS_ACCESS_KEY_ID"):
        config["access_key_id"] = env["AWS_ACCESS_KEY_ID"]
        config["secret_access_key"] = env.get("AWS_SECRET_ACCESS_KEY", "")
    if env.get("AWS_SESSION_TOKEN"):
        config["session_token"] = env["AWS_SESSION_TOKEN"]
    if _endpoint(env):
        config["endpoint"] = _endpoint(env)
        config["virtual_hosted_style_request"] = False
    return config


def _client_options(env: Mapping[str, str]) -> "ClientConfig":
    # Plain HTTP only where the operator of this process named such an endpoint.
    return {**_TIMEOUTS, "allow_http": True} if _endpoint(env).startswith("http://") else _TIMEOUTS


def _first_line(err: Exception) -> str:
    # obstore appends a debug dump of the whole request.
    return str(err).partition("\n")[0][:300]
