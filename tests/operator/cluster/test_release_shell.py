"""What the cluster shell does around the machine: it asks first, touches nothing foreign, says what it can't, and writes little."""

from typing import Any

import pytest

from graft_core.api.conditions import find_condition
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.errors import InvalidInput
from graft_operator.cluster.figures import Figures
from graft_operator.cluster.prometheus import Prometheus
from graft_operator.cluster.release_shell import ClusterReleaseShell
from graft_operator.cluster.scrape import Scraper
from graft_operator.ports import CONFIG_MAPS, HTTP_ROUTES, INFERENCE_SERVICES, MODEL_RELEASES
from graft_operator.reconcile.decision import SetWeights
from graft_operator.reconcile.observed import Policy
from tests.builders import a_release
from tests.operator.cluster.release_story import DEFAULTS, ReleaseStory

QUICK: dict[str, Any] = {"steps": [{"weight": 50, "minDurationSeconds": 1, "minRequests": 1}]}


def is_settled(release: ModelRelease) -> bool:
    status = release.status
    return status.candidate is None and status.draining is None and status.phase in {"Released", "RolledBack"}


def condition(story: ReleaseStory, kind: str) -> tuple[str, str, str]:
    release = story.release
    assert release is not None
    found = find_condition(release.status.conditions, kind)
    assert found is not None, [one.type for one in release.status.conditions]
    return found.status, found.reason, found.message


async def test_the_first_release_asks_kserve_before_it_makes_an_arm() -> None:
    story = ReleaseStory()
    await story.step()
    assert set(story.services) == {"shop-probe"}
    assert condition(story, "ArtifactVerified")[1] == "TrafficProbe"
    await story.until(is_settled)
    assert set(story.services) == {"shop"}


async def test_a_probe_that_is_refused_means_slots() -> None:
    story = ReleaseStory()
    story.kube.fail("create", InvalidInput("admission webhook denied the request: canary"), INFERENCE_SERVICES)
    release = await story.until(is_settled)
    assert release.status.traffic_strategy == "Slots"
    assert release.status.url == "http://shop-default.models.test"


@pytest.mark.parametrize(
    "spec",
    [{"rollout": {"stickyHeader": "x-user-id"}}, {"model": {"fineTuneJobRef": {"name": "other"}}}],
    ids=["a field that is not supported", "a job that is not there"],
)
async def test_nothing_is_asked_of_kserve_for_a_release_that_makes_no_arm(spec: dict[str, Any]) -> None:
    story = ReleaseStory("weights", spec)
    for _ in range(3):
        await story.step()
    assert story.services == {}


@pytest.mark.parametrize(
    ("resource", "name"), [(INFERENCE_SERVICES, "shop"), (INFERENCE_SERVICES, "shop-b"), (HTTP_ROUTES, "shop")]
)
async def test_a_name_that_is_somebody_else_s_is_not_touched(resource: Any, name: str) -> None:
    story = ReleaseStory("unsplit")
    story.kube.add(resource, {"metadata": {"name": name, "namespace": "default"}, "spec": {"predictor": {}}})
    story.kserve.tick = lambda: None  # type: ignore[method-assign]  # nobody reconciles the other one here
    for _ in range(3):
        await story.step()
    assert condition(story, "Accepted")[:2] == ("False", "Conflict")
    assert [write.resource.kind for write in story.kube.writes if write.resource != MODEL_RELEASES] == []


async def test_weights_that_a_person_changed_are_restored() -> None:
    story = ReleaseStory("weights", {"rollout": {"steps": [{"weight": 10, "minDurationSeconds": 600}]}})
    await story.until(is_settled)
    story.publish("tune-2", "f")
    await story.until(lambda r: r.status.candidate is not None and r.status.candidate.weight_since is not None)
    canary = story.services["shop"]["spec"]["canary"]
    story.kube.edit(INFERENCE_SERVICES, "default", "shop", {"spec": {"canary": [{**canary[0], "trafficPercent": 77}]}})
    await story.run_pass()
    assert story.services["shop"]["spec"]["canary"][0]["trafficPercent"] == 10
    assert "Drifted" in {event.reason for event in story.told.events}


@pytest.mark.slow
@pytest.mark.no_cover  # thousands of passes: what they reach, the unit tests have covered
async def test_kserve_taken_back_to_a_version_that_does_not_split_rolls_the_candidate_back_and_says_why() -> None:
    story = ReleaseStory()
    first = (await story.until(is_settled)).status.stable
    story.kserve.version = "unsplit"
    story.publish("tune-2", "f")
    release = await story.until(lambda r: len(r.status.history) > 1 and is_settled(r), steps=200)
    assert release.status.stable is not None
    assert first is not None
    assert release.status.stable.revision == first.revision
    assert "TrafficSplitUnsupported" in release.status.history[-1].message
    assert story.kserve.losses == []


async def test_slots_go_on_when_kserve_learns_to_split() -> None:
    story = ReleaseStory("unsplit")
    await story.until(is_settled)
    story.kserve.version = "weights"
    story.publish("tune-2", "f")
    release = await story.until(lambda r: len(r.status.history) > 1 and is_settled(r))
    assert release.status.traffic_strategy == "Slots"
    assert release.status.history[-1].outcome == "Promoted"
    assert story.kserve.losses == []


async def test_a_rollout_step_costs_two_writes_and_a_status() -> None:
    story = ReleaseStory()
    await story.until(is_settled)
    story.publish("tune-2", "f")
    await story.until(lambda r: r.status.candidate is not None and r.status.candidate.weight_since is not None)
    before = len(story.kube.writes)
    await story.until(
        lambda r: (
            r.status.candidate is not None
            and r.status.candidate.step == 1
            and r.status.candidate.weight_since is not None
        )
    )
    services = [write for write in story.kube.writes[before:] if write.resource == INFERENCE_SERVICES]
    assert len(services) == 1
    assert list(services[0].body["spec"]) == ["canary"]


async def test_a_weight_change_touches_no_deployment() -> None:
    story = ReleaseStory()
    await story.until(is_settled)
    story.publish("tune-2", "f")
    await story.until(lambda r: r.status.candidate is not None and r.status.candidate.weight == 10)
    predictors = [one["predictor"] for one in story.services["shop"]["spec"]["canary"]]
    meta = story.services["shop"]["metadata"]
    await story.until(lambda r: r.status.candidate is not None and r.status.candidate.weight == 50)
    assert [one["predictor"] for one in story.services["shop"]["spec"]["canary"]] == predictors
    now = story.services["shop"]["metadata"]
    assert (now["labels"], now["annotations"]) == (meta["labels"], meta["annotations"])


@pytest.mark.slow
@pytest.mark.no_cover  # thousands of passes: what they reach, the unit tests have covered
async def test_recipes_are_kept_and_bounded() -> None:
    story = ReleaseStory(
        "unsplit",
        {"rollout": {"steps": [{"weight": 50, "minDurationSeconds": 1, "minRequests": 1}], "scaleDownDelaySeconds": 0}},
    )
    await story.until(is_settled)
    for number in range(12):
        story.publish(f"tune-{number + 2}", f"{number:x}")
        await story.until(lambda r, n=number: is_settled(r) and len(r.status.history) > n + 1)  # type: ignore[misc]  # bound
    await story.step()
    records = story.kube.all(CONFIG_MAPS)
    assert len(records) == 10
    assert all(record["immutable"] for record in records)


class PrometheusDouble(Prometheus):
    """Answers each query with the figures of a healthy arm."""

    def __init__(self, at: Any) -> None:
        super().__init__()
        self._at = at
        self.asked: list[str] = []

    async def ask(self, url: str, query: str, at: Any) -> Any:
        self.asked.append(query)
        assert url == "http://prometheus:9090"
        value, labels = ("100", {"outcome": "ok"}) if "by (outcome)" in query else ("0", {})
        if "timestamp" in query:
            value = str(self._at().timestamp())
        if "count by" in query:
            value = "1"
        return {
            "status": "success",
            "data": {"resultType": "vector", "result": [{"metric": labels, "value": [0, value]}]},
        }


async def test_figures_may_come_from_prometheus() -> None:
    source = {
        "source": {"prometheus": {"url": "http://prometheus:9090"}},
        "checks": [{"metric": "error_rate", "max": "0.5"}],
    }
    story = ReleaseStory(
        "weights",
        {
            "rollout": {
                "steps": [{"weight": 10, "minDurationSeconds": 1, "minRequests": 10}],
                "analysis": source,
                "scaleDownDelaySeconds": 0,
            }
        },
    )
    await story.run_pass()
    assert condition(story, "Accepted")[:2] == ("False", "PolicyDenied")
    prometheus = PrometheusDouble(story.clock.now)
    story.start_with(prometheus, frozenset({"http://prometheus:9090"}))
    await story.until(is_settled)
    story.publish("tune-2", "f")
    release = await story.until(lambda r: len(r.status.history) > 1 and is_settled(r))
    assert release.status.history[-1].outcome == "Promoted"
    assert any("requests_total" in query for query in prometheus.asked)


async def test_an_action_without_its_pass_is_refused() -> None:
    story = ReleaseStory()
    figures = Figures(Scraper(story.kube, story.clock), Prometheus())
    shell = ClusterReleaseShell(story.kube, story.clock, Policy(), DEFAULTS, figures)
    with pytest.raises(Exception, match="was not looked at"):
        await shell.apply(SetWeights({}, ""), a_release())


@pytest.mark.parametrize("version", ["weights", "unsplit"])
async def test_nothing_is_taken_away_while_the_gateway_has_not_acknowledged_weight_0(version: Any) -> None:
    story = ReleaseStory(version, {"rollout": {**QUICK, "scaleDownDelaySeconds": 0}})
    await story.until(is_settled)
    story.publish("tune-2", "f")
    await story.until(lambda r: r.status.candidate is not None and r.status.candidate.weight == 50)
    story.kserve.is_gateway_deaf = True
    story.edit({"abort": True})
    for _ in range(20):
        await story.step()
    release = story.release
    assert release is not None
    assert release.status.draining is not None
    assert release.status.draining.weight == 50
    assert sum(len(body["spec"].get("canary", [])) + 1 for body in story.services.values()) == 2
    story.kserve.is_gateway_deaf = False
    await story.until(lambda r: r.status.draining is None)
    assert story.kserve.losses == []
