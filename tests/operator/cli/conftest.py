"""What tests of the command line share: a served state folder, and the command run in this process."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from graft_operator.cli.app import run
from tests.operator.cli.served import Served
from tests.operator.cli.served_cluster import ServedCluster


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Graft = Callable[..., Ran]


@pytest.fixture
def served() -> Iterator[Served]:
    """A running API; its folder has a short path, as sockets need."""
    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        server = Served(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ServedCluster]:
    """The double of a cluster, with its kubeconfig."""
    server = ServedCluster(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def kubectl(graft: Graft, cluster: ServedCluster, monkeypatch: pytest.MonkeyPatch) -> Graft:
    """Run `kubectl graft` against the double."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))

    def call(*words: str | os.PathLike[str]) -> Ran:
        return graft(*words, program="kubectl graft")

    return call


@pytest.fixture
def graft(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Graft:
    """Run `graft` as a shell would, in an empty folder; state folders are named by GRAFT_STATE."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("KUBECONFIG", raising=False)

    def call(*words: str | os.PathLike[str], state: Path | None = None, program: str = "graft") -> Ran:
        if state is not None:
            monkeypatch.setenv("GRAFT_STATE", str(state))
        code = run([os.fspath(word) for word in words], program)
        out, err = capsysbinary.readouterr()
        return Ran(code, out.decode(), err.decode())

    return call


@pytest.fixture
def ask(graft: Graft, served: Served) -> Graft:
    """Run `graft` against the running API."""

    def call(*words: str | os.PathLike[str]) -> Ran:
        return graft(*words, state=served.state)

    return call
