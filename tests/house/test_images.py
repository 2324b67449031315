"""What holds for every image, read off the Dockerfile: a build for an hour is not needed to see that it went wrong."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from graft_core.contracts.pod import PROGRESS_PORT
from graft_operator.render.kube import pod, predictor_pod
from graft_operator.settings import OperatorSettings
from scripts import part_locks
from tests.house import ROOT, tracked_files
from tests.house.dockerfile import Dockerfile, Instruction, Stage

FILE = ROOT / "images" / "Dockerfile"
DOCKERFILE = Dockerfile.read(FILE)
TARGETS = ("operator", "trainer", "predictor")
BUILDING = ("locks", "tools", "wheels", "operator-env", "trainer-env", "predictor-env")
"""Stages that no image starts from."""
USER = "65532:65532"
LABELS = ("title", "description", "licenses", "version", "revision")
SECRETS = {"id=graft-index", "id=graft-ca"}
INSTALLS = re.compile(r"\bpip install\b[^&|;]*")


def instructions(verb: str) -> list[Instruction]:
    """All of a kind, of every stage."""
    return [each for stage in DOCKERFILE.stages.values() for each in stage.all(verb)]


def last(stages: list[Stage], verb: str) -> Instruction:
    """The one that counts."""
    return [each for stage in stages for each in stage.all(verb)][-1]


def test_there_is_one_dockerfile_and_every_stage_is_known() -> None:
    found = [path for path in tracked_files() if "dockerfile" in path.name.lower() and path.suffix != ".py"]

    assert set(found) <= {FILE}
    assert set(DOCKERFILE.stages) == {*BUILDING, "runtime", "models", *TARGETS}


def test_stages_start_from_the_base_that_a_build_is_given_or_from_each_other() -> None:
    parents = [stage.parent for stage in DOCKERFILE.stages.values()]

    assert {parent for parent in parents if parent not in DOCKERFILE.stages} == {"${BASE}"}
    assert re.fullmatch(
        r"docker\.io/library/python:3\.11-slim-\w+(@sha256:[0-9a-f]{64})?", DOCKERFILE.arguments["BASE"]
    )
    assert ":latest" not in FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_starts_from_no_stage_that_builds(target: str) -> None:
    assert {stage.name for stage in DOCKERFILE.lineage(target)}.isdisjoint(BUILDING)


def test_trainer_and_predictor_share_the_heavy_layer() -> None:
    shared = [stage.name for stage in DOCKERFILE.lineage("trainer")[:-1]]

    assert shared == [stage.name for stage in DOCKERFILE.lineage("predictor")[:-1]] == ["runtime", "models"]
    # A step of their own that installed something would be a second heavy layer.
    assert DOCKERFILE.stages["trainer"].all("RUN") == DOCKERFILE.stages["predictor"].all("RUN") == []


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_the_user_of_our_pods(target: str) -> None:
    assert last(DOCKERFILE.lineage(target), "USER").rest == USER == f"{pod.USER}:{predictor_pod.USER}"


def test_every_install_is_checked_by_hash_and_takes_wheels_alone() -> None:
    installs = [found for each in instructions("RUN") for found in INSTALLS.findall(each.rest)]

    assert len(installs) == len(TARGETS) + 3  # the tools, and in the heavy layer uv and what it installs
    assert all("--require-hashes --requirement " in one and "--no-deps" in one for one in installs)
    # Ours come from the checkout, and nothing else comes with them.
    (own,) = INSTALLS.findall((ROOT / "images" / "install-members.sh").read_text(encoding="utf-8"))
    assert "--no-deps --no-index --find-links /wheels" in own
    for stage in ("tools", "models"):
        told = " ".join(each.rest for each in DOCKERFILE.stages[stage].instructions)
        assert {"UV_NO_BUILD=1", "UV_NO_CACHE=1", "UV_PYTHON_DOWNLOADS=never"} <= set(told.split())


def test_nothing_is_fetched_but_by_pip_and_uv() -> None:
    assert instructions("ADD") == []
    assert not [
        each for each in instructions("RUN") if re.search(r"\b(curl|wget|git|apt-get|apt|npm)\b|://", each.rest)
    ]


def test_what_is_copied_is_there_and_may_be_seen_by_the_build() -> None:
    known: set[str] = set()
    for stage in DOCKERFILE.stages.values():
        for each in stage.all("COPY"):
            sources = each.words[:-1]
            if each.flags:
                assert re.fullmatch(r"--from=(.*)", each.flags[0]), each
                assert each.flags[0].removeprefix("--from=") in known, each
                assert all(source.startswith("/") for source in sources), each
            else:
                assert [one for one in sources if not seen_by_the_build(one)] == [], each
        known.add(stage.name)
    mounted = re.findall(r"type=bind,source=([^,\s]+)", FILE.read_text(encoding="utf-8"))
    assert [one for one in mounted if not seen_by_the_build(one)] == []


def test_a_build_sees_a_short_list_and_no_more() -> None:
    lines = [line for line in ignored() if not line.startswith("#")]

    assert lines[0] == "*"
    assert [line for line in lines if line.startswith("!") and not list(ROOT.glob(line[1:]))] == []
    for path in (".git/config", ".env", "pyproject.toml", "tests", ".venv/pyvenv.cfg", "operator/secret.pem"):
        assert not is_listed(path), path


def test_secrets_are_mounted_for_a_step_and_are_nowhere_else() -> None:
    mounted = {flag for each in instructions("RUN") for flag in each.flags if "type=secret" in flag}
    named = [each.rest for verb in ("ARG", "ENV", "LABEL") for each in instructions(verb)]

    assert {flag.removeprefix("--mount=type=secret,") for flag in mounted} == SECRETS
    assert not [one for one in named if re.search(r"(?i)index_url|token|password|secret|pip_cert", one)]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_says_what_it_is(target: str) -> None:
    stage = DOCKERFILE.stages[target]
    labels = re.findall(r'org\.opencontainers\.image\.(\w+)="[^"]+"', last([stage], "LABEL").rest)

    assert tuple(labels) == LABELS
    assert f'title="graft-{target}"' in last([stage], "LABEL").rest


def test_an_image_starts_a_program_that_its_member_brings() -> None:
    for member in ("trainer", "predictor"):
        project = tomllib.loads((ROOT / member / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert last([DOCKERFILE.stages[member]], "ENTRYPOINT").rest == f'["graft-{member}"]'
        assert f"graft-{member}" in project["scripts"]
    operator = DOCKERFILE.stages["operator"]
    assert last([operator], "ENTRYPOINT").rest == '["python", "-m", "graft_operator"]'
    assert last([operator], "CMD").rest == '["operator"]'


def test_the_ports_told_are_those_listened_on() -> None:
    ports = {target: int(last([DOCKERFILE.stages[target]], "EXPOSE").rest) for target in TARGETS}

    assert ports == {
        "operator": OperatorSettings().probe_port,
        "trainer": PROGRESS_PORT,
        "predictor": predictor_pod.PORT,
    }


@pytest.mark.parametrize("member", ["trainer", "predictor"])
def test_the_two_layers_of_an_image_are_its_whole_lock(member: str, tmp_path: Path) -> None:
    locks = {name: str(ROOT / "requirements" / f"{name}.txt") for name in ("trainer", "predictor")}
    shared = part_locks.part(["both", locks["trainer"], locks["predictor"]])
    (tmp_path / "shared.txt").write_text("".join(shared.values()), encoding="utf-8")

    own = part_locks.part(["without", locks[member], str(tmp_path / "shared.txt")])

    text = Path(locks[member]).read_text(encoding="utf-8")
    assert not shared.keys() & own.keys()
    assert len(re.findall(r"^\S+==", text, re.MULTILINE)) == len(shared) + len(own)
    assert "".join([*shared.values(), *own.values()]).count("--hash=sha256:") == text.count("--hash=sha256:")
    assert {"torch", "transformers", "peft"} <= {line.partition("==")[0] for line in shared}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected both|without"),
        (["some", "dev", "uv"], "expected both|without"),
        (["only", "dev"], "expected both|without"),
        (["only", "dev", "uv", "no-such-package"], "does not hold no-such-package"),
        (["but", "operator", "torch"], "does not hold torch"),
        (["without", "dev", "dev"], "leaves nothing"),
    ],
)
def test_a_lock_cannot_be_parted_into_nothing(arguments: list[str], told: str) -> None:
    paths = [str(ROOT / "requirements" / f"{one}.txt") if one in {"dev", "operator"} else one for one in arguments]

    with pytest.raises(ValueError, match=re.escape(told)):
        part_locks.part(paths)


def test_skaffold_builds_each_image_and_gives_it_to_the_chart() -> None:
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    (release,) = config["deploy"]["helm"]["releases"]
    values = yaml.safe_load((ROOT / release["chartPath"] / "values.yaml").read_text(encoding="utf-8"))

    built = {one["image"]: one["docker"] for one in config["build"]["artifacts"]}
    assert built == {f"graft-{one}": {"dockerfile": "images/Dockerfile", "target": one} for one in TARGETS}
    assert release["setValueTemplates"] == {
        f"image.{target}.{part}": f"{{{{.IMAGE_{variable}_graft_{target}}}}}"
        for target in TARGETS
        for part, variable in (("repository", "REPO"), ("tag", "TAG"), ("digest", "DIGEST"))
    }
    assert [sorted(values["image"][target]) for target in TARGETS] == [["digest", "repository", "tag"]] * len(TARGETS)


def test_images_are_called_what_the_chart_asks_for() -> None:
    values = yaml.safe_load((ROOT / "charts" / "graft" / "values.yaml").read_text(encoding="utf-8"))
    chart = yaml.safe_load((ROOT / "charts" / "graft" / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (prefix,) = re.findall(r"IMAGE_PREFIX:-([^}]+)\}", (ROOT / "scripts" / "images.sh").read_text(encoding="utf-8"))

    assert {one: values["image"][one]["repository"] for one in TARGETS} == {one: prefix + one for one in TARGETS}
    assert chart["appVersion"] == project["version"]


def ignored() -> list[str]:
    """Lines of .dockerignore."""
    return [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.strip()]


def is_listed(path: str) -> bool:
    """Whether .dockerignore lets in a path, or something in it."""
    allowed = [line[1:] for line in ignored() if line.startswith("!")]
    return any(fnmatch(path, one) or path.startswith(f"{one}/") or one.startswith(f"{path}/") for one in allowed)


def seen_by_the_build(source: str) -> bool:
    """Whether a source is in the checkout and in what a build is sent."""
    path = source.rstrip("/")
    return is_listed(path) and (ROOT / path).exists()
