"""The cluster from the command line, as make calls it.

python -m tests.cluster up [--bare]               start a cluster of one node, with Graft's images or without
python -m tests.cluster down                      stop it, or clear what is left of it
python -m tests.cluster images                    build the images that the story is told with, and print their names
python -m tests.cluster programs                  build what the tests of the control plane run, before they wait for it
python -m tests.cluster run -- COMMAND...         run a command where the cluster is
python -m tests.cluster e2e [--bare] [ARGUMENT...] up, tests/cluster/e2e, down; further arguments are pytest's
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable

from tests.cluster.errors import BedError, NothingToRun
from tests.house import ROOT

__all__ = ["main"]

TESTS = "tests/cluster/e2e"
INTERRUPTED = 130
"""Exit code of a shell's command that Ctrl-C ended."""
UNABLE = 69
"""Exit code (EX_UNAVAILABLE of sysexits.h): this machine cannot carry a node; nothing was tested."""


def main() -> int:
    """Do as told; the exit code is the command's."""
    parser = argparse.ArgumentParser(prog="tests.cluster", description="A Kubernetes of one node, for tests.")
    parser.add_argument("verb", choices=list(VERBS))
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="a command, or arguments of pytest")
    arguments = parser.parse_args()
    rest = arguments.rest[1:] if arguments.rest[:1] == ["--"] else arguments.rest
    try:
        return VERBS[arguments.verb](rest)
    except BedError as error:
        sys.stderr.write(f"cluster: {error}\n")
        return UNABLE if isinstance(error, NothingToRun) else 1
    except KeyboardInterrupt:
        sys.stderr.write("cluster: interrupted; `make cluster-down` clears what may be left\n")
        return INTERRUPTED


def programs(_rest: list[str]) -> int:
    """Build and fetch what a control plane is made of; where there is nothing to build with, say so, and leave the rest to the tests."""
    from tests.cluster.crds import GATEWAY_API, KSERVE
    from tests.cluster.programs import HELM, S3, kube_program

    wanted: tuple[Callable[[], object], ...] = (
        lambda: kube_program("kube-apiserver"),
        lambda: kube_program("kubectl"),
        HELM.build,
        S3.build,
        KSERVE.crds,
        GATEWAY_API.crds,
    )
    said: dict[str, None] = {}
    for make in wanted:
        try:
            make()
        except NothingToRun as nothing:
            said[str(nothing)] = None
    for message in said:
        sys.stderr.write(f"cluster: NOT TESTED HERE: {message}\n")
    return 0


def images(_rest: list[str]) -> int:
    """Build Graft's images with the story's base model in them, for the registry of another cluster."""
    from tests.cluster.graft_images import IMAGES, prepare
    from tests.cluster.node import cluster
    from tests.cluster.node.models import base_models

    with cluster.alone():
        built = prepare(None, base_models())
    sys.stdout.writelines(f"{built.name(image)}\n" for image in IMAGES)
    return 0


def up(rest: list[str]) -> int:
    """Start a cluster; one that does not come up is taken down again, its logs kept."""
    from tests.cluster.node import cluster
    from tests.cluster.node.machine import enter_to_start

    with cluster.alone():
        images = cluster.prepare(is_bare="--bare" in rest)
        tag = [images.tag] if images else []
        command = [*enter_to_start(), sys.executable, "-m", "tests.cluster", "start-inside", *tag]
        done = 1
        try:
            done = subprocess.run(command, cwd=ROOT, check=False).returncode
        finally:
            if done:
                cluster.keep_logs()
                cluster.down()
    return done


def start_inside(rest: list[str]) -> int:
    """The part of `up` that runs in the namespaces."""
    from tests.cluster.graft_images import GraftImages
    from tests.cluster.node import cluster

    cluster.start(GraftImages(*rest) if rest else None)
    return 0


def down(_rest: list[str]) -> int:
    """Stop it, or clear what is left of it."""
    from tests.cluster.node import cluster

    with cluster.alone():
        cluster.down()
    return 0


def run(rest: list[str]) -> int:
    """Run a command in the cluster's namespace."""
    return _inside(rest)


def e2e(rest: list[str]) -> int:
    """Run the tests on a node of our own, or on the cluster that `KUBECONFIG` names; bare, those that need no images of Graft."""
    from tests.cluster.e2e.surroundings import WHERE, of_variables
    from tests.cluster.node.cluster import crash, keep_logs

    is_bare, rest = "--bare" in rest, [each for each in rest if each != "--bare"]
    tests = f"{TESTS}/test_node.py" if is_bare else TESTS
    pytest = [sys.executable, "-m", "pytest", "-m", "cluster", tests, *rest]
    given = os.environ.get("KUBECONFIG")
    if given:
        of_variables()  # what is missing is told before anything is built
        sys.stderr.write(f"cluster: using the one of KUBECONFIG={given!r}\n")
        # It may be anywhere, and our own tests reach loopback only.
        there = [*pytest, "--force-enable-socket"]
        return subprocess.run(there, cwd=ROOT, env={**os.environ, WHERE: "external"}, check=False).returncode
    failed = up(["--bare"] if is_bare else [])
    if failed:
        return failed
    failed = 1
    try:
        failed = _inside(pytest)
    finally:
        if failed:
            keep_logs()
        crash()  # clearing must find everything then, too; it says what it left
        down([])
    return failed


def _inside(command: list[str]) -> int:
    from tests.cluster.e2e.surroundings import WHERE
    from tests.cluster.node.machine import enter
    from tests.cluster.node.places import KUBECONFIG

    env = {**os.environ, WHERE: "own", "KUBECONFIG": str(KUBECONFIG)}
    return subprocess.run([*enter(), *command], cwd=ROOT, env=env, check=False).returncode


VERBS = {
    "images": images,
    "programs": programs,
    "up": up,
    "start-inside": start_inside,
    "down": down,
    "run": run,
    "e2e": e2e,
}

if __name__ == "__main__":
    sys.exit(main())
