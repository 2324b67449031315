"""Read a published artifact back, byte by byte: what a child reports as published is what the store would give to anybody else."""

import tempfile
from pathlib import Path

from graft_core.contracts.adapter_manifest import digest_of_files
from graft_core.errors import Corrupt
from graft_core.storage.base import ObjectStore
from graft_trainer.publish.upload import Published

__all__ = ["read_back"]


def read_back(store: ObjectStore, published: Published, prefix: str, scratch: Path) -> None:
    """Fetch every file of an artifact and hold it against its manifest.

    Args:
        store: The output's store.
        published: What was published.
        prefix: Key that output_prefix names, without slashes at its ends.
        scratch: Folder for one file at a time.

    Raises:
        Corrupt: A file is missing, or has other bytes than the manifest says.
    """  # noqa: DOC502 - the digests are checked by the store
    manifest = published.manifest
    if digest_of_files(manifest.files) != manifest.digest:
        raise Corrupt(f"the digest in {published.uri}manifest.json is not that of the files it lists")
    folder = f"{prefix}/{manifest.digest.removeprefix('sha256:')}"
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        for file in manifest.files:
            if store.stat(f"{folder}/{file.path}") is None:
                raise Corrupt(f"{published.uri}{file.path} is named by the manifest and not there")
            path = Path(place) / "object"
            store.fetch(f"{folder}/{file.path}", path, sha256=file.sha256)
            path.unlink()
