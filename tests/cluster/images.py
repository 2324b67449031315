"""Images for containerd without a registry: an OCI archive of one layer, written by hand."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["write_image"]

MODE = 0o755


def write_image(archive: Path, name: str, files: Mapping[str, Path], entrypoint: Sequence[str]) -> None:
    """Write an image for this machine's architecture.

    Args:
        archive: The file to write, to be imported with `ctr images import`.
        name: With its tag.
        files: What goes where in it; all executable.
        entrypoint: What it runs, as nobody.
    """
    layer = _layer(files)
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    configured = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor("config.v1+json", configured),
        "layers": [_descriptor("layer.v1.tar", layer)],
    }
    listed = json.dumps(manifest).encode()
    named = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "manifests": [{**_descriptor("manifest.v1+json", listed), "annotations": named}]}
    blobs = {f"blobs/sha256/{_digest(data)[7:]}": data for data in (layer, configured, listed)}
    parts = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}
    with tarfile.open(archive, "w") as tar:
        for path, data in parts.items():
            _add(tar, path, data)


def _layer(files: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, source in sorted(files.items()):
            _add(tar, path.lstrip("/"), source.read_bytes())
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, path: str, data: bytes) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode = len(data), MODE
    tar.addfile(member, io.BytesIO(data))


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
