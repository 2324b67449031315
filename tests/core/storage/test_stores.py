"""One contract for every store: a folder, the double of S3, and a real S3 server."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from graft_core.errors import Conflict, Corrupt, InvalidInput, Unavailable
from graft_core.storage.base import ObjectStore, sha256_of_bytes, sha256_of_file
from graft_core.storage.objects import BucketStore, open_store
from tests.core.storage.s3_double import S3Double, serve_s3

Opened = tuple[ObjectStore, str]


@pytest.fixture
def double() -> Iterator[S3Double]:
    with serve_s3() as server:
        yield server


@pytest.fixture(params=["folder", "double", pytest.param("server", marks=pytest.mark.cluster)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    match request.param:
        case "folder":
            return open_store(tmp_path.as_uri())
        case "double":
            return open_store("s3://graft-test/run", request.getfixturevalue("double").env)
        case _:
            return open_store("s3://graft-test/run", request.getfixturevalue("s3_server").env)


@pytest.mark.loopback
class TestContract:
    """What every store keeps."""

    def test_what_was_put_is_read_and_listed(self, opened: Opened) -> None:
        store, prefix = opened
        store.put(f"{prefix}/a/x.json", b"one")
        store.put(f"{prefix}/a/b/ü.bin", b"two!")
        store.put(f"{prefix}/a/x.json", b"three")
        assert store.read(f"{prefix}/a/x.json") == b"three"
        listed = {(found.key.removeprefix(prefix), found.size_bytes) for found in store.list(f"{prefix}/a")}
        assert listed == {("/a/x.json", 5), ("/a/b/ü.bin", 4)}
        found = store.stat(f"{prefix}/a/x.json")
        assert found is not None
        assert found.size_bytes == 5

    def test_an_empty_object_is_an_object(self, opened: Opened) -> None:
        store, prefix = opened
        store.put(f"{prefix}/empty", b"")
        assert store.read(f"{prefix}/empty") == b""

    def test_files_are_streamed_both_ways_and_verified(self, opened: Opened, tmp_path: Path) -> None:
        store, prefix = opened
        source, target = tmp_path / "source.bin", tmp_path / "target.bin"
        source.write_bytes(os.urandom(9 * 1024 * 1024))
        store.put(f"{prefix}/big.bin", source)
        store.fetch(f"{prefix}/big.bin", target, sha256=sha256_of_file(source))
        assert target.read_bytes() == source.read_bytes()
        assert sorted(found.name for found in tmp_path.glob("*.part-*")) == []

    def test_create_if_absent_happens_once(self, opened: Opened) -> None:
        store, prefix = opened
        key = f"{prefix}/manifest.json"
        assert store.put_if_absent(key, b"first")
        assert not store.put_if_absent(key, b"first")
        with pytest.raises(Conflict, match=r"manifest\.json is there already"):
            store.put_if_absent(key, b"second")
        assert store.read(key) == b"first"

    def test_of_many_writers_one_wins(self, opened: Opened) -> None:
        store, prefix = opened
        won: list[int] = []

        def write(n: int) -> None:
            try:
                if store.put_if_absent(f"{prefix}/race", f"writer {n}".encode()):
                    won.append(n)
            except Conflict:
                pass

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.read(f"{prefix}/race") == f"writer {won[0]}".encode()

    def test_damage_is_noticed_on_read(self, opened: Opened, tmp_path: Path) -> None:
        store, prefix = opened
        store.put(f"{prefix}/w", b"damaged")
        right = sha256_of_bytes(b"original")
        with pytest.raises(Corrupt, match=f"expected {right}"):
            store.read(f"{prefix}/w", sha256=right)
        with pytest.raises(Corrupt, match="changed or damaged"):
            store.fetch(f"{prefix}/w", tmp_path / "copy", sha256=right)
        assert not (tmp_path / "copy").exists()

    def test_missing_objects_are_told_apart_from_other_faults(self, opened: Opened, tmp_path: Path) -> None:
        store, prefix = opened
        assert store.stat(f"{prefix}/nope") is None
        assert list(store.list(f"{prefix}/nope")) == []
        store.delete(f"{prefix}/nope")
        with pytest.raises(InvalidInput, match=r"/nope: there is no such object") as caught:
            store.read(f"{prefix}/nope")
        assert caught.value.reason == "NotFound"
        with pytest.raises(InvalidInput, match="no such object"):
            store.fetch(f"{prefix}/nope", tmp_path / "x")

    def test_deleted_is_gone(self, opened: Opened) -> None:
        store, prefix = opened
        store.put(f"{prefix}/x", b"1")
        store.delete(f"{prefix}/x")
        assert store.stat(f"{prefix}/x") is None

    @pytest.mark.parametrize("key", ["../up", "a/../../b", "a//b"])
    def test_keys_cannot_climb(self, opened: Opened, key: str) -> None:
        store, prefix = opened
        with pytest.raises(InvalidInput):
            store.put(f"{prefix}/{key}", b"x")


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("status", "error", "message"),
    [(403, InvalidInput, "access denied; check the credentials"), (501, Unavailable, "s3://graft-test/k")],
)
def test_a_bucket_that_refuses_is_told_by_reaction(
    double: S3Double, status: int, error: type[Exception], message: str
) -> None:
    double.fail_with = status
    with pytest.raises(error, match=message) as caught:
        BucketStore("graft-test", double.env).read("k")
    assert "double" not in str(caught.value), "the secret key"
    assert "\n" not in str(caught.value)


def test_settings_come_from_the_environment_that_is_given() -> None:
    store, prefix = open_store(
        "s3://bucket/p/", {"AWS_SESSION_TOKEN": "t", "AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s"}
    )
    assert prefix == "p"
    assert store.uri_of("p/x") == "s3://bucket/p/x"


def test_a_folder_that_may_not_be_written_is_access_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(obstore, "put", refuse)
    store, prefix = open_store(tmp_path.as_uri())
    with pytest.raises(InvalidInput, match="access denied"):
        store.put(f"{prefix}/x", b"1")


WRITER_WITHOUT_ROOM = """
import resource, sys
from graft_core.errors import Unavailable
from graft_core.storage.objects import open_store
store, prefix = open_store(sys.argv[1])
store.put(f"{prefix}/before", b"1")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for write in (store.put, store.put_if_absent):
    try:
        write(f"{prefix}/large", bytes(4_000_000))
    except Unavailable as error:
        print(error)
"""


def test_a_disk_that_takes_no_more_is_told_with_the_object_and_no_half_of_it_stays(tmp_path: Path) -> None:
    # A limit on a process's files is the double of a full disk: the write fails in its middle, with EFBIG for ENOSPC.
    command = [sys.executable, "-c", WRITER_WITHOUT_ROOM, tmp_path.as_uri()]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == 2
    assert all(line.startswith(f"{tmp_path.as_uri()}/large: ") and "File too large" in line for line in told)
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


KILLED_WRITER = """
import sys
from graft_core.storage.objects import open_store
store, prefix = open_store(sys.argv[1])
data = bytes(4_000_000)
print("ready", flush=True)
for n in range(10_000):
    store.put_if_absent(f"{prefix}/{n}.bin", data)
    store.put(f"{prefix}/again.bin", data)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_no_half_object(tmp_path: Path) -> None:
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED_WRITER, tmp_path.as_uri()], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            # Ready; let it write until there is something, then end it in the middle of whatever it does.
            while not any(tmp_path.glob("*.bin")):
                threading.Event().wait(0.01)
            threading.Event().wait(0.03)
            child.kill()
        store, prefix = open_store(tmp_path.as_uri())
        sizes = {found.size_bytes for found in store.list(prefix)}
        assert sizes == {4_000_000}
        for path in tmp_path.iterdir():
            path.unlink()
