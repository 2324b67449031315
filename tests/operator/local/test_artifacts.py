"""Adapters in a folder store: found by uid, verified byte by byte."""

from pathlib import Path

import pytest

from graft_core.contracts.adapter_manifest import AdapterManifest, ArtifactPointer, FileDigest, digest_of_files
from graft_core.storage.base import sha256_of_bytes
from graft_operator.local.artifacts import Artifacts
from graft_operator.reconcile.observed import ArtifactAbsent, ArtifactCorrupt, ArtifactFound, ArtifactUnreachable
from tests.builders import a_manifest
from tests.operator.local.doubles import ManualClock

WEIGHTS = b"weights"


class Shelf:
    """A store with one published adapter."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.artifacts = Artifacts(self.clock, folder / "tmp")
        self.prefix = f"{(folder / 'store').as_uri()}/default/texts/"
        self.root = folder / "store" / "default" / "texts"
        files = (
            FileDigest(path="adapter_model.safetensors", sha256=sha256_of_bytes(WEIGHTS), size_bytes=len(WEIGHTS)),
        )
        digest = digest_of_files(files)
        self.manifest: AdapterManifest = a_manifest().model_copy(update={"files": files, "digest": digest})
        self.uid = self.manifest.job.uid
        self.name = digest.removeprefix("sha256:")
        self.uri = f"{self.prefix}{self.name}/"
        self.folder = self.root / self.name

    def publish(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "adapter_model.safetensors").write_bytes(WEIGHTS)
        (self.folder / "manifest.json").write_text(self.manifest.to_json())
        (self.root / "by-uid").mkdir()
        pointer = ArtifactPointer(uid=self.uid, uri=self.uri, digest=self.manifest.digest)
        (self.root / "by-uid" / f"{self.uid}.json").write_text(pointer.to_json())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


async def test_a_published_adapter_is_found_by_the_uid_of_its_job(shelf: Shelf) -> None:
    shelf.publish()
    found = ArtifactFound(shelf.manifest, shelf.uri)
    assert await shelf.artifacts.of_job(shelf.prefix, shelf.uid, is_fresh=True) == found
    assert await shelf.artifacts.at(shelf.uri) == found


async def test_what_was_absent_a_moment_ago_is_looked_for_again_when_asked(shelf: Shelf) -> None:
    assert isinstance(await shelf.artifacts.of_job(shelf.prefix, shelf.uid, is_fresh=False), ArtifactAbsent)
    shelf.publish()
    assert isinstance(await shelf.artifacts.of_job(shelf.prefix, shelf.uid, is_fresh=False), ArtifactAbsent)
    assert isinstance(await shelf.artifacts.of_job(shelf.prefix, shelf.uid, is_fresh=True), ArtifactFound)
    shelf.clock.advance(60)
    assert isinstance(await shelf.artifacts.of_job(shelf.prefix, shelf.uid, is_fresh=False), ArtifactFound)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("flip", "has SHA-256"),
        ("truncate", "has 3 bytes, its manifest says 7 bytes"),
        ("remove", "has nothing, its manifest says 7 bytes"),
        ("manifest", "is not a manifest"),
        ("digest", "is not that of the files it lists"),
        ("outside", "which is outside of its folder"),
        ("gone", "which holds no manifest.json"),
        ("pointer", "is not a pointer to an artifact"),
        ("foreign", "contradict each other"),
    ],
)
async def test_damage_is_told_by_file(shelf: Shelf, damage: str, message: str) -> None:
    shelf.publish()
    assert isinstance(await shelf.artifacts.of_job(shelf.prefix, shelf.uid, is_fresh=True), ArtifactFound)
    hurt(shelf, damage)
    state = await shelf.artifacts.of_job(shelf.prefix, shelf.uid, is_fresh=True)
    assert isinstance(state, ArtifactCorrupt)
    assert message in state.message


def hurt(shelf: Shelf, damage: str) -> None:
    weights, manifest = shelf.folder / "adapter_model.safetensors", shelf.folder / "manifest.json"
    pointer = shelf.root / "by-uid" / f"{shelf.uid}.json"
    match damage:
        case "flip":
            weights.write_bytes(b"wEights")
        case "truncate":
            weights.write_bytes(b"wei")
        case "remove":
            weights.unlink()
        case "manifest":
            manifest.write_text("{}")
        case "digest":
            manifest.write_text(shelf.manifest.model_copy(update={"digest": "sha256:" + "0" * 64}).to_json())
        case "outside":
            files = (FileDigest(path="../../x", sha256="0" * 64, size_bytes=1),)
            manifest.write_text(
                shelf.manifest.model_copy(update={"files": files, "digest": digest_of_files(files)}).to_json()
            )
        case "gone":
            manifest.unlink()
        case "pointer":
            pointer.write_text("{}")
        case _:
            job = shelf.manifest.job.model_copy(update={"uid": "another"})
            manifest.write_text(shelf.manifest.model_copy(update={"job": job}).to_json())


async def test_a_store_that_can_not_be_named_is_unreachable_not_absent(shelf: Shelf) -> None:
    assert isinstance(await shelf.artifacts.at("file:///a/../b/"), ArtifactUnreachable)
