"""Copy an adapter out of object storage into a folder of the predictor's own, so that later changes there cannot matter."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

from graft_core.api.v1alpha1.modelrelease import AdapterRef
from graft_core.contracts.adapter_manifest import AdapterManifest
from graft_core.errors import Corrupt
from graft_core.storage.base import ObjectStore
from graft_predictor.adapters.verify import check_files, parse_manifest

__all__ = ["FetchedAdapter", "copy_adapter", "fetch_adapter"]

_MANIFEST: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
MAX_ARTIFACT_BYTES: Final = 64 * 1024**3
"""Adapters have megabytes; this only keeps a forged manifest from filling the disk."""


class FetchedAdapter:
    """A verified copy."""

    def __init__(self, folder: Path, manifest: AdapterManifest) -> None:
        self.folder = folder
        self.manifest = manifest


def fetch_adapter(store: ObjectStore, prefix: str, ref: AdapterRef, cache_dir: Path) -> FetchedAdapter:
    """Copy and verify; an earlier copy is verified again and used, or replaced if it no longer holds.

    Raises InvalidInput where there is no such artifact or access is denied, Unavailable where the store does not answer.

    Args:
        store: Where the artifact lies.
        prefix: Its folder in the store.
        ref: The digest it must have.
        cache_dir: The copy goes to `adapters/<digest>/` in it.

    Returns:
        The copy and its manifest.

    Raises:
        Corrupt: It is not what the manifest or the release says.
    """
    _, manifest = _read_manifest(store, prefix, ref)
    folder = cache_dir / "adapters" / ref.digest.removeprefix("sha256:")
    try:
        check_files(folder, manifest)
    except Corrupt:
        _copy(store, prefix, manifest, folder)
        check_files(folder, manifest)
    return FetchedAdapter(folder, manifest)


def copy_adapter(store: ObjectStore, prefix: str, ref: AdapterRef, folder: Path) -> None:
    """Copy into a folder of one's own, and verify; the manifest is written last. Raises as fetch_adapter does.

    Args:
        store: Where the artifact lies.
        prefix: Its folder in the store.
        ref: The digest it must have.
        folder: Made if absent, emptied if not; may be a mount point.
    """
    data, manifest = _read_manifest(store, prefix, ref)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
    _fetch_files(store, prefix, manifest, folder)
    check_files(folder, manifest)
    (folder / _MANIFEST).write_bytes(data)


def _read_manifest(store: ObjectStore, prefix: str, ref: AdapterRef) -> tuple[bytes, AdapterManifest]:
    key = f"{prefix}/{_MANIFEST}"
    info = store.stat(key)
    if info is not None and info.size_bytes > MAX_MANIFEST_BYTES:
        raise Corrupt(f"{store.uri_of(key)} has {info.size_bytes} bytes, at most {MAX_MANIFEST_BYTES} are read")
    data = store.read(key)
    manifest = parse_manifest(data, digest=ref.digest)
    if sum(file.size_bytes for file in manifest.files) > MAX_ARTIFACT_BYTES:
        raise Corrupt(f"{store.uri_of(key)}: the files have over {MAX_ARTIFACT_BYTES} bytes")
    return data, manifest


def _fetch_files(store: ObjectStore, prefix: str, manifest: AdapterManifest, folder: Path) -> None:
    for file in manifest.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(f"{prefix}/{file.path}", target, sha256=file.sha256)


def _copy(store: ObjectStore, prefix: str, manifest: AdapterManifest, folder: Path) -> None:
    """Copy beside the final place, then rename: another arm with the same cache may be doing this, too."""
    beside = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True, mode=0o700)
    try:
        _fetch_files(store, prefix, manifest, beside)
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # the other arm was first; its copy is verified next
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
