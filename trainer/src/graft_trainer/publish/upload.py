"""Upload a staged folder so that it is an artifact at one moment: files, then the manifest if there is none, then the pointer if there is none.

    <prefix><sha256 hex>/…              the folder's name is the digest of its content, so files cannot collide
    <prefix><sha256 hex>/manifest.json  last, create-if-absent: nothing without it is an artifact
    <prefix>by-uid/<uid>.json           which artifact this FineTuneJob published, create-if-absent

A kill anywhere leaves files that nobody calls an artifact; the next run uploads the same bytes again and ends in the same place.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graft_core.contracts.adapter_manifest import AdapterManifest, ArtifactPointer, FileDigest, digest_of_files
from graft_core.errors import Conflict
from graft_core.storage.base import ObjectStore, sha256_of_file

__all__ = ["MANIFEST_FILE", "Published", "list_files", "published_before", "upload"]

MANIFEST_FILE: Final = "manifest.json"


@dataclass(frozen=True)
class Published:
    """Where an artifact is."""

    uri: str
    """Folder, with a slash at its end."""
    manifest: AdapterManifest


def list_files(folder: Path) -> tuple[FileDigest, ...]:
    """Digest every file of a staged folder, sorted by path; a manifest is not one of them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_FILE)
    return tuple(
        sorted(
            (
                FileDigest(
                    path=path.relative_to(folder).as_posix(),
                    sha256=sha256_of_file(path),
                    size_bytes=path.stat().st_size,
                )
                for path in paths
            ),
            key=lambda file: file.path,
        )
    )


def published_before(store: ObjectStore, prefix: str, uid: str) -> Published | None:
    """Find what an earlier attempt of this FineTuneJob published.

    Args:
        store: The output's store.
        prefix: Key that output_prefix names, without slashes at its ends.
        uid: The FineTuneJob's.

    Returns:
        The artifact, or None where no attempt got that far.
    """
    key = _pointer_key(prefix, uid)
    if store.stat(key) is None:
        return None
    pointer = ArtifactPointer.model_validate_json(store.read(key))
    folder = f"{prefix}/{pointer.digest.removeprefix('sha256:')}"
    manifest = AdapterManifest.model_validate_json(store.read(f"{folder}/{MANIFEST_FILE}"))
    return Published(store.uri_of(folder) + "/", manifest)


def upload(store: ObjectStore, prefix: str, staged: Path, manifest: AdapterManifest) -> Published:
    """Publish a staged folder.

    Args:
        store: The output's store.
        prefix: Key that output_prefix names, without slashes at its ends.
        staged: The artifact's files.
        manifest: Names them all.

    Returns:
        Where it is, with the manifest that counts: an earlier one's if there was one.

    Raises:
        Conflict: This FineTuneJob has published another artifact already, or the manifest there is for other files.
    """
    folder = f"{prefix}/{manifest.digest.removeprefix('sha256:')}"
    if digest_of_files(manifest.files) != manifest.digest:
        raise Conflict(f"the manifest's digest {manifest.digest} is not that of its files; stage the artifact again")
    key = f"{folder}/{MANIFEST_FILE}"
    # Once the manifest is there the folder is an artifact, and nobody writes into it any more.
    if store.stat(key) is None:
        for file in manifest.files:
            store.put(f"{folder}/{file.path}", staged / file.path)
    kept = _put_manifest(store, key, manifest)
    pointer = ArtifactPointer(uid=manifest.job.uid, uri=store.uri_of(folder) + "/", digest=manifest.digest)
    store.put_if_absent(_pointer_key(prefix, manifest.job.uid), pointer.to_json().encode())
    return Published(pointer.uri, kept)


def _put_manifest(store: ObjectStore, key: str, manifest: AdapterManifest) -> AdapterManifest:
    try:
        store.put_if_absent(key, manifest.to_json().encode())
    except Conflict:
        # The same files with another time stamp or trace: an attempt that was killed just after its PUT.
        there = AdapterManifest.model_validate_json(store.read(key))
        if there.files != manifest.files or there.digest != manifest.digest:
            raise
        return there
    return manifest


def _pointer_key(prefix: str, uid: str) -> str:
    return f"{prefix}/by-uid/{uid}.json"
