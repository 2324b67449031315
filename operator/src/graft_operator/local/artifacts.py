"""Adapters in object storage: found by a job's uid or at a URI, and verified file by file before anybody acts on them."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from graft_core.clock import Clock
from graft_core.contracts.adapter_manifest import AdapterManifest, ArtifactPointer, FileDigest, digest_of_files
from graft_core.errors import Corrupt, GraftError, InvalidInput, Unavailable
from graft_core.storage.base import ObjectStore, sha256_of_file
from graft_core.storage.objects import open_store
from graft_core.storage.uri import parse_uri
from graft_operator.reconcile.observed import (
    ArtifactAbsent,
    ArtifactCorrupt,
    ArtifactFound,
    ArtifactState,
    ArtifactUnreachable,
)

__all__ = ["Artifacts"]

ABSENT_FOR_S = 30.0
"""How long an absent artifact of a job that still trains is taken as absent."""

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and time of change of each file of a folder; empty for a bucket, whose folders are named by their digest."""


@dataclass(frozen=True)
class _Verified:
    state: ArtifactFound
    stamp: Stamp


class Artifacts:
    """Looks artifacts up; what was verified is not read again while it has not changed."""

    def __init__(self, clock: Clock, scratch: Path) -> None:
        self._clock = clock
        self._scratch = scratch
        self._verified: dict[str, _Verified] = {}
        self._absent: dict[str, tuple[float, ArtifactAbsent]] = {}

    async def of_job(self, prefix: str, uid: str, *, is_fresh: bool) -> ArtifactState:
        """Find what a job published.

        Args:
            prefix: `<output.uri>/<namespace>/<name>/`.
            uid: The job's.
            is_fresh: Look now, even where it was absent a moment ago.

        Returns:
            The artifact's state.
        """
        seen = self._absent.get(uid)
        if seen is not None and not is_fresh and self._clock.monotonic() - seen[0] < ABSENT_FOR_S:
            return seen[1]
        state = await asyncio.to_thread(self._find, prefix, uid)
        if isinstance(state, ArtifactAbsent):
            self._absent[uid] = (self._clock.monotonic(), state)
        return state

    async def at(self, uri: str) -> ArtifactState:
        """Read the artifact in a folder."""
        return await asyncio.to_thread(self._verify, uri)

    def forget(self, uid: str) -> None:
        """Forget a job that is gone."""
        self._absent.pop(uid, None)

    def _find(self, prefix: str, uid: str) -> ArtifactState:
        name = f"{prefix.rstrip('/')}/by-uid/{uid}.json"
        try:
            store, key = open_store(name)
            pointer = ArtifactPointer.model_validate_json(store.read(key))
        except (InvalidInput, Unavailable) as error:
            return self._told(error)
        except ValidationError:
            return ArtifactCorrupt(f"{name} is not a pointer to an artifact", self._clock.now())
        state = self._verify(pointer.uri)
        if isinstance(state, ArtifactAbsent):
            return ArtifactCorrupt(f"{name} points to {pointer.uri}, which holds no manifest.json", self._clock.now())
        if isinstance(state, ArtifactFound) and (
            state.manifest.job.uid != uid or state.manifest.digest != pointer.digest
        ):
            return ArtifactCorrupt(f"{name} and the manifest at {pointer.uri} contradict each other", self._clock.now())
        return state

    def _verify(self, uri: str) -> ArtifactState:
        try:
            stamp = _stamp_of(uri)
            known = self._verified.get(uri)
            if known is not None and known.stamp == stamp:
                return known.state
            store, prefix = open_store(uri)
            manifest = AdapterManifest.model_validate_json(store.read(f"{prefix}/manifest.json"))
            if digest_of_files(manifest.files) != manifest.digest:
                return ArtifactCorrupt(
                    f"the digest in {uri}manifest.json is not that of the files it lists", self._clock.now()
                )
            self._check_files(store, uri, prefix, manifest.files)
        except ValidationError as error:
            return ArtifactCorrupt(
                f"{uri}manifest.json is not a manifest: {error.error_count()} fields are wrong", self._clock.now()
            )
        except Corrupt as error:
            return ArtifactCorrupt(str(error), self._clock.now())
        except GraftError as error:
            return self._told(error)
        state = ArtifactFound(manifest, uri)
        self._verified[uri] = _Verified(state, stamp)
        return state

    def _check_files(self, store: ObjectStore, uri: str, prefix: str, files: tuple[FileDigest, ...]) -> None:
        place = parse_uri(uri)
        for file in files:
            if ".." in file.path.split("/") or file.path.startswith("/"):
                raise Corrupt(f"the manifest at {uri} names {file.path!r}, which is outside of its folder")
            key = f"{prefix}/{file.path}"
            found = store.stat(key)
            if found is None or found.size_bytes != file.size_bytes:
                size = "nothing" if found is None else f"{found.size_bytes} bytes"
                raise Corrupt(f"{uri}{file.path} has {size}, its manifest says {file.size_bytes} bytes")
            if place.scheme == "file":
                actual = sha256_of_file(Path("/") / key)
                if actual != file.sha256:
                    raise Corrupt(f"{uri}{file.path} has SHA-256 {actual}, its manifest says {file.sha256}")
            else:
                self._scratch.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
                    store.fetch(key, Path(folder) / "object", sha256=file.sha256)

    def _told(self, error: GraftError) -> ArtifactState:
        if isinstance(error, InvalidInput) and error.reason == "NotFound":
            return ArtifactAbsent(self._clock.now())
        # Refused credentials included: a person can mend them, and the job's deadline bounds the waiting.
        return ArtifactUnreachable(str(error))


def _stamp_of(uri: str) -> Stamp:
    place = parse_uri(uri)
    folder = Path("/") / place.key
    if place.scheme != "file" or not folder.is_dir():
        return ()
    return tuple(
        sorted((p.name, s.st_size, s.st_mtime_ns) for p in folder.rglob("*") if p.is_file() and (s := p.stat()))
    )
