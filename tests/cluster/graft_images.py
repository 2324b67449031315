"""Graft's own images for a node: built by `scripts/images.sh` with buildah, and given to the node's containerd.

    prepare(models)     needs the outside world: tools, base image, packages
    load(...)           needs containerd, and no network: what it lacks goes from buildah to it without an archive on the disk

The tag is a key of all that goes into the images. What containerd kept from the last run is neither built nor imported again; an image
that came out the same as the last time only gets its new name there, for the heavy ones are gigabytes.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import BedError
from tests.cluster.node.machine import absent, install, run
from tests.house import MEMBERS, ROOT

__all__ = ["IMAGES", "GraftImages", "load", "loaded", "prepare"]

IMAGES = ("operator", "trainer", "predictor")
WITH_MODELS = ("trainer", "predictor")
PREFIX = "localhost/graft-"
PACKAGES = {name: name for name in ("buildah", "debootstrap", "skopeo")}
"""Debian package by command."""
NAMESPACE = "k8s.io"
"""Where the kubelet's images are in containerd."""
BUILD_S = 3600
IMPORT_S = 1200
SHOWN_LINES = 30
"""Of a failed build's output: the end tells what failed."""
SOURCES = (
    *("images", "requirements", "scripts/images.sh", "scripts/part_locks.py", ".dockerignore", "LICENSE"),
    *(f"{member}/{part}" for member in MEMBERS for part in ("pyproject.toml", "src")),
)
"""What an image follows from."""


@dataclass(frozen=True, slots=True)
class GraftImages:
    """One build of the three images."""

    tag: str
    """Key of what they were built from."""

    def name(self, image: str) -> str:
        """Full name of one, with its tag."""
        return f"{PREFIX}{image}:{self.tag}"


def prepare(store: Path | None, models: Mapping[str, Path] | None = None) -> GraftImages:
    """Build what containerd does not have yet.

    Args:
        store: containerd's own folder; beside its images it keeps which of ours it was given. None: they are for somebody else, and built
            whatever it has.
        models: Folders that trainer and predictor are to have as well, by their place in the image: base models for a node that reaches no hub.

    Returns:
        The images; `load` gives them to containerd.

    Raises:
        NothingToRun: Tools are missing, and this is no Debian.
        BedError: The build failed; the message has the end of what it said.
    """
    models = models or {}
    images = GraftImages(_key(models))
    if store is not None and loaded(store) == images:
        return images
    install(absent(PACKAGES))
    _script(images, "--local-base", *IMAGES)
    for image in WITH_MODELS if models else ():
        _add(images.name(image), models)
    _forget_built(images)
    return images


def load(images: GraftImages, socket: Path, store: Path) -> None:
    """Give the images to containerd, unless it has them, and take older ones away.

    Args:
        images: As `prepare` built them.
        socket: Where containerd listens.
        store: Its own folder.

    Raises:
        BedError: The import failed, or the images are not built.
    """
    if loaded(store) == images:
        return
    ctr = ["ctr", "--address", str(socket), "-n", NAMESPACE, "images"]
    before, ids = _mark(store), {image: _id(images.name(image)) for image in IMAGES}
    same = [image for image in IMAGES if ids[image] == before.get(image, {}).get("id")]
    for image in same:
        run(*ctr, "tag", "--force", before[image]["name"], images.name(image))
    changed = [image for image in IMAGES if image not in same]
    if changed:
        _import(images, changed, ctr)
    # Afterwards, so that layers which both have are not unpacked again.
    for old in run(*ctr, "list", "-q").split():
        if old.startswith(PREFIX) and old not in map(images.name, IMAGES):
            run(*ctr, "rm", old)
    _mark_file(store).write_text(
        json.dumps({image: {"name": images.name(image), "id": ids[image]} for image in IMAGES})
    )


def loaded(store: Path) -> GraftImages | None:
    """Say which build containerd has.

    Args:
        store: Its own folder.
    """
    mark = _mark(store)
    return GraftImages(mark[IMAGES[0]]["name"].rpartition(":")[2]) if mark else None


def _import(images: GraftImages, changed: list[str], ctr: list[str]) -> None:
    with subprocess.Popen(
        _command("--no-build", "--archive", "-", *changed), cwd=ROOT, env=_environment(images), stdout=subprocess.PIPE
    ) as writer:
        done = subprocess.run(
            [*ctr, "import", "-"], stdin=writer.stdout, capture_output=True, text=True, timeout=IMPORT_S, check=False
        )
    if writer.returncode or done.returncode:
        raise BedError(
            f"containerd took no images of Graft ({writer.returncode}, {done.returncode}): {done.stderr[-2000:]}"
        )


def _id(name: str) -> str:
    return run("buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", name).strip()


def _mark_file(store: Path) -> Path:
    """Tells which of our images are in containerd's folder, and goes with the folder."""
    return store / "graft-images.json"


def _mark(store: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(_mark_file(store).read_text()) if _mark_file(store).exists() else {}
    return found


def _key(models: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in [*((one, ROOT / one) for one in SOURCES), *sorted(models.items())]:
        for file in _files(path):
            digest.update(
                f"{name}\0{file.relative_to(path)}\0{file.stat().st_mode}\0".encode() + file.read_bytes() + b"\0"
            )
    return digest.hexdigest()[:20]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for file in sorted(path.rglob("*")):
        if (
            file.is_file()
            and "__pycache__" not in file.parts
            and not any(part.endswith(".egg-info") for part in file.parts)
        ):
            yield file


def _script(images: GraftImages, *arguments: str) -> None:
    done = subprocess.run(
        _command(*arguments),
        cwd=ROOT,
        env=_environment(images),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-SHOWN_LINES:])
        raise BedError(f"scripts/images.sh {' '.join(arguments)} failed with {done.returncode}:\n{tail}")


def _command(*arguments: str) -> list[str]:
    return ["bash", "scripts/images.sh", *arguments]


def _environment(images: GraftImages) -> dict[str, str]:
    # Not the commit: an image whose sources are the same is to be the same.
    return {**os.environ, "BUILDER": "buildah", "IMAGE_PREFIX": PREFIX, "IMAGE_TAG": images.tag, "REVISION": "test"}


def _add(name: str, folders: Mapping[str, Path]) -> None:
    """Put folders into an image that is built, under the same name."""
    container = run("buildah", "from", name).strip()
    try:
        for place, folder in folders.items():
            run("buildah", "copy", "--quiet", container, str(folder), place, timeout_s=BUILD_S)
        run("buildah", "commit", "--quiet", "--timestamp", "0", container, name, timeout_s=BUILD_S)
    finally:
        run("buildah", "rm", container, check=False)


def _forget_built(images: GraftImages) -> None:
    """Take the names off what was built before; layers that the newest images have stay."""
    names = run("buildah", "images", "--format", "{{.Name}}:{{.Tag}}").split()
    old = [
        name
        for name in names
        if name.startswith(tuple(PREFIX + one for one in IMAGES)) and name not in map(images.name, IMAGES)
    ]
    for name in old:
        run("buildah", "rmi", name, timeout_s=BUILD_S, check=False)
