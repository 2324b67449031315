"""scripts/images.sh with doubles of the builders: what it asks of them, and what it keeps from them."""

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.house import ROOT

INDEX = "https://ann:hunter2@packages.example.com/simple"
SERVERLESS = "#!/bin/sh\nexit 1\n"
"""A double of Docker's client without a server, and of a Podman that does not work."""
BUILDER = """#!/bin/bash
# A double of a builder: says what it was called with, keeps the index it was shown, and writes a layout where one is pushed.
printf '%s\\n' "$(basename "$0") $*" >> "$RECORD/calls"
case $1 in
  info) echo "$RECORD" ;;
  build) for word in "$@"; do case $word in id=graft-index,src=*) cp "${word#*src=}" "$RECORD/index"; esac; done ;;
  push) place=${*: -1}; place=${place#oci:}; mkdir -p "${place%%:*}"
        printf '{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' "${place#*:}" > "${place%%:*}/index.json" ;;
esac
"""
pytestmark = pytest.mark.timeout(60)  # a dozen small processes, on a machine that may be busy

FULL_DISK = "#!/bin/sh\nprintf 'Avail\\n 1999M\\n'\n"
"""A double of df."""


class Run(NamedTuple):
    """What a run of the script came to."""

    code: int
    said: str
    calls: list[str]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of programs that comes first on PATH: only Buildah is there and works."""
    write(tmp_path, docker=SERVERLESS, podman=SERVERLESS, buildah=BUILDER)
    return tmp_path


def write(place: Path, **programs: str) -> None:
    """Put programs on PATH."""
    (place / "bin").mkdir(exist_ok=True)
    for name, text in programs.items():
        (place / "bin" / name).write_text(text, encoding="utf-8")
        (place / "bin" / name).chmod(0o755)


def images(place: Path, *arguments: str, **variables: str) -> Run:
    """Run the script."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "SSL_"))}
    env = {**kept, "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "RECORD": str(place), "PIP_INDEX_URL": INDEX}
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "images.sh"), *arguments],
        env=env | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    calls = place / "calls"
    return Run(done.returncode, done.stderr, calls.read_text(encoding="utf-8").splitlines() if calls.exists() else [])


def test_a_client_without_a_server_is_passed_over(place: Path) -> None:
    run = images(place, "operator")

    assert (run.code, run.calls[-1].split()[:2]) == (0, ["buildah", "build"]), run.said
    assert "--target operator" in run.calls[-1]
    assert "--build-arg BASE" not in run.calls[-1]


@pytest.mark.parametrize(("builder", "date"), [("docker", "SOURCE_DATE_EPOCH=0"), ("podman", "--timestamp 0")])
def test_a_builder_that_works_is_taken_in_the_order_told(place: Path, builder: str, date: str) -> None:
    write(place, **{builder: BUILDER})

    run = images(place, "trainer", IMAGE_PREFIX="registry.example.com/graft-", IMAGE_TAG="7", BASE="base@sha256:1")

    assert run.code == 0, run.said
    (build,) = [call for call in run.calls if f"{builder} build " in call]
    for part in ("--target trainer", "--tag registry.example.com/graft-trainer:7", "BASE=base@sha256:1", date):
        assert part in build


def test_the_index_reaches_the_build_as_a_secret_and_is_not_kept(place: Path) -> None:
    run = images(place, "operator")

    assert (place / "index").read_text(encoding="utf-8") == INDEX
    assert "hunter2" not in run.said + "".join(run.calls)
    assert not list((ROOT / ".cache").glob("images-*/index"))


def test_an_archive_names_each_image_the_way_containerd_reads(place: Path) -> None:
    run = images(place, "--no-build", "--archive", str(place / "all.tar"), "operator", IMAGE_TAG="7")

    assert run.code == 0, run.said
    assert not [call for call in run.calls if " build " in call]
    listed = subprocess.run(
        ["tar", "-xOf", str(place / "all.tar"), "./index.json"], capture_output=True, text=True, check=True
    )
    (manifest,) = json.loads(listed.stdout)["manifests"]
    name = "ghcr.io/graft-dev/operator:7"
    assert manifest["annotations"] == {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}


def test_too_little_disk_is_said_before_anything_is_built(place: Path) -> None:
    write(place, df=FULL_DISK)

    run = images(place, "operator")

    assert run.code == 1
    assert "1999 MB are free" in run.said
    assert not [call for call in run.calls if " build " in call]


@pytest.mark.parametrize(
    ("arguments", "variables", "told"),
    [
        (["gateway"], {}, "gateway: expected --local-base"),
        (["--archive"], {}, "--archive wants a file"),
        ([], {"BUILDER": "kaniko"}, "BUILDER=kaniko: expected docker, podman or buildah"),
    ],
)
def test_what_it_does_not_know_is_refused(
    place: Path, arguments: list[str], variables: dict[str, str], told: str
) -> None:
    run = images(place, *arguments, **variables)

    assert run.code == 1
    assert told in run.said
    assert run.calls == []
