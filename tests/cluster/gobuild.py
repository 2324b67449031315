"""Programs built from the Go modules in this folder, once a content, and kept outside the checkout.

    ${XDG_CACHE_HOME:-~/.cache}/graft/<module>/<key>/<program>      key = hash of go.mod, go.sum, *.go, Go's version, flags

A build is done in a folder beside it and renamed into place, so that a half-made one is never used; a lock file keeps two
builders from doing the same work twice. Where modules come from is Go's own business (`go env GOPROXY`).
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.cluster.errors import BedError, NothingToRun

__all__ = ["GoModule", "Swap", "cache_folder", "go_program"]

HERE = Path(__file__).parent
BUILD_TIMEOUT_S = 3600
"""Ten times what two cores take for the largest module."""
COMPILED = ("-trimpath", "-gcflags=all=-dwarf=false")
"""The same for all modules, so that what two have in common is compiled once. Nobody debugs these programs, and without what a
debugger needs a build takes a tenth less."""
SHOWN_LINES = 30
"""Of a failed build's output: the end tells what failed."""


@dataclass(frozen=True, slots=True)
class Swap:
    """One package of a required module that is built from a file of ours instead, for what it would drag in."""

    module: str
    package: str
    """Its folder in the module; all below it goes."""
    by: str
    """Our file, below the folder of our module."""


@dataclass(frozen=True, slots=True)
class GoModule:
    """One Go module and what is built from it."""

    name: str
    """Folder beside this file, and name in the cache."""
    programs: Mapping[str, str]
    """Package path by the name of the program."""
    minutes: int
    """Minutes that a first build takes on two cores, to tell whoever waits."""
    ldflags: str = "-s -w"
    links: tuple[str, ...] = ()
    """Further names for the first program, which looks at the name it is called by."""
    swaps: tuple[Swap, ...] = ()
    """What is left out."""

    def build(self) -> Path:
        """Return the folder with the programs, built now if they are not there yet.

        Raises:
            NothingToRun: There is no Go on this machine and nothing was built before.
            BedError: The build failed.
        """
        go = go_program(self.name)
        ready = cache_folder() / self.name / self._key(go)
        if not ready.is_dir():
            with _locked(ready.with_suffix(".lock")):
                if not ready.is_dir():
                    self._build_into(ready, go)
        return ready

    def _key(self, go: str) -> str:
        folder = HERE / self.name
        version = _output([go, "env", "GOVERSION", "GOOS", "GOARCH"], folder)
        digest = hashlib.sha256(
            "\0".join(
                [version, *COMPILED, self.ldflags, *self.programs.values(), *self.links, *map(str, self.swaps)]
            ).encode()
        )
        for path in sorted([*folder.glob("go.*"), *folder.rglob("*.go")]):
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()[:20]

    def _build_into(self, ready: Path, go: str) -> None:
        _say(f"building {', '.join(self.programs)}: about {self.minutes} min the first time, then never again")
        started = monotonic()
        with _scratch(ready) as made, _scratch(ready) as copied:
            command = [go, "build", "-mod=readonly", *COMPILED, "-ldflags", self.ldflags]
            if self.swaps:
                command += ["-modfile", str(_swapped(self.swaps, go, HERE / self.name, Path(copied)))]
            # A compiler lives for seconds: less garbage collection makes a build a fifth shorter.
            env = {"CGO_ENABLED": "0", "GOGC": os.environ.get("GOGC", "1000")}
            for program, package in self.programs.items():
                _run([*command, "-o", f"{made}/{program}", package], HERE / self.name, env)
            for link in self.links:
                Path(made, link).symlink_to(next(iter(self.programs)))
            Path(made).chmod(0o755)
            Path(made).rename(ready)
        _say(f"built {', '.join(self.programs)} in {monotonic() - started:.0f} s")


def _scratch(ready: Path) -> tempfile.TemporaryDirectory[str]:
    # One that was renamed is no fault: it is what the build is for.
    return tempfile.TemporaryDirectory(dir=ready.parent, prefix="building-", ignore_cleanup_errors=True)


def _swapped(swaps: tuple[Swap, ...], go: str, folder: Path, copied: Path) -> Path:
    """Copy required modules without a package of each, put ours there, and return a go.mod that names the copies."""
    for file in ("go.mod", "go.sum"):
        shutil.copy(folder / file, copied)
    for number, swap in enumerate(swaps):
        _run([go, "mod", "download", swap.module], folder)
        source = Path(_output([go, "list", "-m", "-f", "{{.Dir}}", swap.module], folder))
        module = copied / str(number)
        _copy_without(source, source / swap.package, module)
        (module / swap.package).mkdir()
        shutil.copy(folder / swap.by, module / swap.package)
        _run([go, "mod", "edit", "-replace", f"{swap.module}={module}", str(copied / "go.mod")], folder)
    return copied / "go.mod"


def _copy_without(source: Path, left_out: Path, copy: Path) -> None:
    def ignore(place: str, names: list[str]) -> set[str]:
        return {name for name in names if Path(place) / name == left_out}

    shutil.copytree(source, copy, ignore=ignore, copy_function=shutil.copyfile)
    for made in [copy, *copy.rglob("*")]:
        made.chmod(0o755)  # Go's cache is read-only


def cache_folder() -> Path:
    """Where built programs and downloaded parts are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "graft"


def go_program(purpose: str) -> str:
    """Return Go's path.

    Args:
        purpose: What it is wanted for; stands in the error.

    Returns:
        Path of the `go` command.

    Raises:
        NothingToRun: There is no Go.
    """
    go = shutil.which("go")
    if go is None:
        raise NothingToRun(
            f"go is not on PATH, and the test cluster's {purpose!r} is built with it; install Go >= 1.25,"
            " or set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver (1.31 or newer)"
        )
    return go


@contextmanager
def _locked(path: Path) -> Generator[None, None, None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another build of {path.parent.name} is going on; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _output(command: list[str], folder: Path) -> str:
    return _run(command, folder).strip()


def _run(command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as slow:
        raise BedError(
            f"{' '.join(command)} took more than {BUILD_TIMEOUT_S} s; what it compiled is kept, so try again"
        ) from slow
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-SHOWN_LINES:])
        raise BedError(
            f"{' '.join(command)} in {folder} failed with {done.returncode}:\n{tail}\n"
            "The modules come from the proxy that `go env GOPROXY` names; is it within reach?"
        )
    return done.stdout


def _say(text: str) -> None:
    # pytest captures sys.stderr; whoever waits for minutes should see why.
    (sys.__stderr__ or sys.stderr).write(f"cluster: {text}\n")
