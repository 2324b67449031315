"""A real S3 server on a folder: versitygw, with one bucket, on loopback."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from graft_operator.local.sockets import free_port
from tests.cluster.processes import HOST, Processes, answers, new_run_folder, until
from tests.cluster.programs import S3

__all__ = ["BUCKET", "S3Server"]

BUCKET: Final = "graft-test"
PATIENCE_S: Final = 30


@dataclass
class S3Server:
    """A running server; leave the `with` to stop it and remove its folder."""

    folder: Path
    processes: Processes
    port: int
    secret: str = field(default="first", repr=False)

    @classmethod
    def start(cls) -> Self:
        """Start one; BedError where it does not come up, NothingToRun where there is no Go to build it with."""
        S3.build()  # before a port is chosen
        folder = new_run_folder("s3")
        (folder / "data" / BUCKET).mkdir(parents=True)
        server = cls(folder, Processes(folder), free_port())
        with ExitStack() as undo:
            undo.callback(server.stop)
            server._serve()
            undo.pop_all()
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def env(self) -> Mapping[str, str]:
        """What a client is told: endpoint and the keys that count now."""
        return {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self.port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "graft",
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }

    def rotate(self, secret: str) -> None:
        """Have another secret key count, and the one before no more; the objects stay."""
        self.processes.stop()
        self.secret = secret
        self._serve()

    def stop(self) -> None:
        """Stop it and remove what it kept."""
        self.processes.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _serve(self) -> None:
        keys = ("ROOT_ACCESS_KEY=graft", f"ROOT_SECRET_KEY={self.secret}")
        data = self.folder / "data"
        self.processes.start(
            "s3", "env", *keys, str(S3.build() / "versitygw"), "--port", f"{HOST}:{self.port}", "posix", str(data)
        )
        until(lambda: answers(self.port), PATIENCE_S, "the S3 server", self.processes)
