"""What anybody may read names no machine of ours and no download host."""

import re
from pathlib import Path

import pytest

from tests.house import ROOT, tracked_files

# One letter stands in brackets, and the examples below in two halves, so that this file does not find itself.
MACHINE_PATHS = re.compile(r"/(wor[k]/(main|shared)|roo[t]|home/(?!graft\b|nonroot\b)\w+|Users/\w+)\b")
TEMPORARY_PATHS = re.compile(r"(?<!/var)/tm[p]/\w")
DOWNLOAD_HOSTS = re.compile(
    r"python[h]osted\.org|pypi\.org/[s]imple|registry\.[n]pmjs|proxy\.[g]olang|download\.[p]ytorch"
)
BINARY = {".png", ".jpg", ".gif", ".ico", ".woff2", ".parquet", ".safetensors", ".gz", ".zip"}


def text_files() -> list[Path]:
    """Tracked files a person would read."""
    return [path for path in tracked_files() if path.suffix not in BINARY]


def finds(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """`file:line: text` of every line that matches."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


@pytest.mark.timeout(20)  # reads every tracked file
def test_no_file_names_a_path_of_one_machine() -> None:
    assert finds(MACHINE_PATHS, text_files()) == []


@pytest.mark.timeout(20)  # reads every tracked file
def test_no_file_outside_the_tests_relies_on_a_temporary_path() -> None:
    outside = [path for path in text_files() if path.relative_to(ROOT).parts[0] != "tests"]

    assert finds(TEMPORARY_PATHS, outside) == []


@pytest.mark.timeout(20)  # reads every tracked file
def test_no_file_names_a_download_host() -> None:
    assert finds(DOWNLOAD_HOSTS, text_files()) == []


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("cd /" + "work/main && make", MACHINE_PATHS),
        ("open('/" + "home/ann/data.csv')", MACHINE_PATHS),
        ("state in /" + "tmp/state", TEMPORARY_PATHS),
        ("https://files.python" + "hosted.org/packages/ab/cd/x.whl", DOWNLOAD_HOSTS),
        ("--index-url https://py" + "pi.org/simple", DOWNLOAD_HOSTS),
        ("https://download.py" + "torch.org/whl/cpu", DOWNLOAD_HOSTS),
        ("https://registry.npm" + "js.org/a/-/a-1.0.0.tgz", DOWNLOAD_HOSTS),
    ],
)
def test_what_must_not_be_named_is_found(line: str, pattern: re.Pattern[str]) -> None:
    assert pattern.search(line)


@pytest.mark.parametrize("line", ["mountPath: /home/graft", "see pytorch.org/docs", "path: /var/tmp"])
def test_what_may_be_named_is_left_alone(line: str) -> None:
    assert not any(pattern.search(line) for pattern in (MACHINE_PATHS, TEMPORARY_PATHS, DOWNLOAD_HOSTS))
