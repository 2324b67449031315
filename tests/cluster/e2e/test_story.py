"""The whole story with pods: the chart, a training that publishes to an S3 server, a service behind a gateway, rollouts under load.

Real: Kubernetes, the images of Graft, Helm, the S3 server, Traefik, traffic. A double: KServe's controller, unless GRAFT_KSERVE is `built` or
`external`.
The tests are one story, in this order; each begins with what the one before it left.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.e2e.chart import NAMESPACE, OPERATOR
from tests.cluster.e2e.team import Team, Users, a_release

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

Json = dict[str, Any]
JOB, RELEASE = "FineTuneJob", "ModelRelease"


def stable_of(team: Team) -> str:
    revision: str = team.status(RELEASE, "mood").get("stable", {}).get("revision", "")
    return revision


def outcomes_of(team: Team) -> list[str]:
    return [entry["outcome"] for entry in team.status(RELEASE, "mood").get("history", ())]


def kill_pod(team: Team, pod: Json) -> None:
    """End a pod at once, as a node does that is switched off."""
    team.api.request("DELETE", f"{team.api.path(pod)}?gracePeriodSeconds=0")


def test_the_chart_brings_an_operator_that_leads(team: Team) -> None:
    deployment = team.api.get("apps/v1", "Deployment", NAMESPACE, OPERATOR)
    assert deployment["status"]["availableReplicas"] == 1
    lease = team.api.find("coordination.k8s.io/v1", "Lease", NAMESPACE, "graft-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"].startswith(OPERATOR)


def test_a_job_checks_trains_and_publishes_to_the_store(team: Team) -> None:
    team.train("first")

    status = team.reach(JOB, "first", "Succeeded")

    assert {gate["result"] for gate in status["gates"]} == {"Pass"}
    artifact = status["artifact"]
    assert artifact["uri"].startswith(f"s3://{team.around.bucket}/adapters/{team.namespace}/first/")
    stored = [each.key for each in team.store.list(f"adapters/{team.namespace}/first")]
    assert any(key.endswith("adapter_model.safetensors") for key in stored), stored


def test_the_command_line_tells_of_it_and_reads_its_log(team: Team) -> None:
    def told(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("kubectl-graft")), *arguments, "--namespace", team.namespace]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert told("wait", "ftj/first", "--for=condition=Complete", "--timeout=5s").endswith("condition met\n")
    listed = told("get", "ftj").splitlines()[1].split()
    assert listed[1] == "Succeeded"
    assert listed[2] == "72/72"
    assert '"event": "published"' in told("logs", "ftj/first")


def test_a_release_answers_through_the_gateway(team: Team) -> None:
    team.apply(a_release("first"))

    team.reach(RELEASE, "mood", "Released")

    with httpx.Client(trust_env=False, timeout=60) as client:
        team.wait(lambda: Users(team).ask(client).is_success, "an answer", lambda: team.tell(RELEASE, "mood"))
        answer = Users(team).ask(client)
    assert answer.json()["label"] == "good"
    assert answer.headers["x-graft-revision"] == stable_of(team)


def test_a_canary_gets_its_share_and_is_promoted_without_a_failed_request(team: Team) -> None:
    team.train("second", epochs=5)
    team.reach(JOB, "second", "Succeeded")
    first = stable_of(team)
    shares: dict[int, Counter[str]] = {}

    with Users(team) as users:
        team.apply(a_release("second"))

        def is_promoted() -> bool:
            candidate = team.status(RELEASE, "mood").get("candidate") or {}
            before = users.revisions.copy()
            shares.setdefault(candidate.get("weight", 0), before)
            return outcomes_of(team)[1:] == ["Promoted"]

        team.wait(is_promoted, "the promotion", lambda: team.tell(RELEASE, "mood"))
        team.reach(RELEASE, "mood", "Released")

    assert users.failed == {}, users.outcomes
    second = stable_of(team)
    assert second != first
    assert users.revisions.keys() == {first, second}
    assert {20, 50} <= shares.keys()
    during = shares[50] - shares[20]
    assert 0.05 < during[second] / during.total() < 0.45, during


def test_a_candidate_that_is_too_slow_is_rolled_back_without_a_failed_request(team: Team) -> None:
    team.train("third", epochs=6)
    team.reach(JOB, "third", "Succeeded")
    second = stable_of(team)

    with Users(team) as users:
        team.apply(a_release("third", checks=[{"metric": "latency_p95", "max": "0.0001"}]))
        team.reach(RELEASE, "mood", "RolledBack")
        seen = users.revisions.copy()

    assert users.failed == {}, users.outcomes
    assert seen.keys() > {second}, "the candidate was never asked"
    assert stable_of(team) == second
    assert outcomes_of(team)[-1] == "RolledBack"


def test_a_training_whose_pod_is_killed_goes_on_from_its_checkpoint(team: Team) -> None:
    team.train("long", epochs=60, learningRate="2e-3", checkpoint={"everySteps": 20})

    def checkpoints() -> list[str]:
        keys = [each.key for each in team.store.list(f"adapters/{team.namespace}")]
        return [key for key in keys if "/train/" in key and "checkpoint" in key]

    team.wait(lambda: bool(checkpoints()), "a checkpoint in the store", lambda: team.tell(JOB, "long"))
    (pod,) = [pod for pod in team.pods(role="train") if pod["status"]["phase"] == "Running"]
    kill_pod(team, pod)

    status = team.reach(JOB, "long", "Succeeded")

    assert status["artifact"]["digest"].startswith("sha256:")
    assert status["attempts"][-1]["resumedFromStep"] > 0, status


def test_an_operator_that_is_killed_mid_rollout_finishes_it(team: Team) -> None:
    step = {"minDurationSeconds": 10, "minRequests": 20}
    first = stable_of(team)

    with Users(team) as users:
        team.apply(a_release("long", steps=[{"weight": 30, **step}]))
        team.wait(
            lambda: (team.status(RELEASE, "mood").get("candidate") or {}).get("weight", 0) > 0,
            "the candidate's share",
            lambda: team.tell(RELEASE, "mood"),
        )
        for pod in team.api.list("v1", "Pod", NAMESPACE):
            kill_pod(team, pod)
        team.wait(
            lambda: outcomes_of(team)[-1] == "Promoted" and stable_of(team) != first,
            "the promotion",
            lambda: team.tell(RELEASE, "mood"),
        )
        team.reach(RELEASE, "mood", "Released")

    assert users.failed == {}, users.outcomes
