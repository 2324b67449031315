"""Which server a command speaks to, and what kubectl is offered after TAB."""

import json
import tomllib
from pathlib import Path

import click
import pytest

from graft_operator.cli.connection import Wanted
from graft_operator.cli.kube.logs import PREDICTOR
from graft_operator.cli.plugin_completion import candidates
from graft_operator.ports import FINE_TUNE_JOBS
from graft_operator.render.kube.predictor_pod import MAIN
from tests.house import ROOT
from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import Served, a_job
from tests.operator.cli.served_cluster import ServedCluster


@pytest.mark.parametrize(
    ("wanted", "has_kubeconfig", "is_state_here", "is_cluster"),
    [
        (Wanted(), False, False, False),
        (Wanted(), True, False, True),
        (Wanted(), True, True, False),
        (Wanted(state="s"), True, False, False),
        (Wanted(state="s", is_state_flag=True), True, False, False),
        (Wanted(kubeconfig="k"), False, True, True),
        (Wanted(context="c", state="s"), False, True, True),  # a flag wins over GRAFT_STATE
        (Wanted(is_plugin=True, state="s"), False, True, True),
    ],
)
def test_the_first_that_speaks_decides(
    wanted: Wanted, has_kubeconfig: bool, is_state_here: bool, is_cluster: bool
) -> None:
    environment = {"KUBECONFIG": "k"} if has_kubeconfig else {}

    assert wanted.means_cluster(environment, is_state_here=is_state_here) is is_cluster


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (
            Wanted(state="s", is_state_flag=True, context="c"),
            "--state 's' names a `graft up`.* does not go with --context",
        ),
        (Wanted(state="s", is_state_flag=True, is_plugin=True), "does not go with `kubectl graft`"),
    ],
)
def test_both_at_once_are_wrong_usage(wanted: Wanted, told: str) -> None:
    with pytest.raises(click.UsageError, match=told):
        wanted.means_cluster({}, is_state_here=False)


@pytest.mark.loopback
def test_a_state_folder_here_wins_over_kubeconfig(
    graft: Graft, cluster: ServedCluster, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    cluster.add(FINE_TUNE_JOBS, a_job("remote"))
    served.add(a_job("local"))

    assert graft("get", "ftj", "-o", "name").out == "finetunejob.graft.dev/remote\n"
    (tmp_path / ".graft").symlink_to(served.state)
    assert graft("get", "ftj", "-o", "name").out == "finetunejob.graft.dev/local\n"
    assert graft("get", "ftj", "-o", "name", "--context", "test").out == "finetunejob.graft.dev/remote\n"


def test_what_is_for_a_cluster_is_refused_by_a_local_one(graft: Graft, served: Served, tmp_path: Path) -> None:
    served.add(a_job())
    (tmp_path / "job.json").write_text(json.dumps(a_job()))

    for words, told in (
        (["logs", "ftj/texts", "-c", "x"], "--container 'x' is for the pods of a cluster"),
        (["logs", "ftj/texts", "--tail", "3"], "--tail 3 is for the pods"),
        (["logs", "ftj/texts", "-p"], "--previous True is for the pods"),
        (["apply", "-f", "job.json", "--force-conflicts"], "--force-conflicts is for a cluster"),
    ):
        ran = graft(*words, state=served.state)
        assert (ran.code, told in ran.err) == (1, True), ran


@pytest.mark.loopback
def test_kubectl_is_offered_commands_kinds_and_names(cluster: ServedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    cluster.add(FINE_TUNE_JOBS, a_job("texts"))

    assert candidates(["prom"]) == ["promote\tLet a paused rollout go on.", ":4"]
    assert candidates(["get", "ftj/"]) == ["ftj/texts", ":4"]
    assert candidates(["apply", "-f", ""]) == [":0"]
    assert "get\tList objects." in candidates([])


def test_the_scripts_have_the_names_that_kubectl_looks_for() -> None:
    project = tomllib.loads((ROOT / "operator" / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert {"graft", "kubectl-graft", "kubectl_complete-graft"} <= set(project["scripts"])


def test_the_predictors_container_is_the_one_that_is_rendered() -> None:
    assert PREDICTOR == MAIN
