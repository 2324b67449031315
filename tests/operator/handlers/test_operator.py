"""The operator as a whole over HTTP on loopback: kopf's watches, the election, passes, probes; and what happens to watches."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from graft_core.clock import Clock
from graft_core.errors import Conflict
from graft_operator.engine.cycle import JobShell, ReleaseShell
from graft_operator.handlers.run import serve
from graft_operator.handlers.runtime import Runtime
from graft_operator.ports import (
    FINE_TUNE_JOBS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    JOBS,
    LEASES,
    MODEL_RELEASES,
    TRAIN_JOBS,
    Cluster,
)
from graft_operator.settings import OperatorSettings
from tests.fakes.kube import FakeKube
from tests.fakes.kube_http import CRDS, HttpKube, kubeconfig_of, serve_kube
from tests.operator.engine.world import JobShellDouble, ReleaseShellDouble, a_job

pytestmark = [pytest.mark.loopback, pytest.mark.filterwarnings("ignore::ResourceWarning")]


class OverHttp(JobShellDouble):
    """The double of a shell, speaking through the operator's own client."""

    def __init__(self, cluster: Any) -> None:
        super().__init__(cluster)


def shells(cluster: Cluster, clock: Clock, settings: OperatorSettings) -> tuple[JobShell, ReleaseShell]:
    return OverHttp(cluster), ReleaseShellDouble()


class Running:
    """An operator and the API server that it speaks to."""

    def __init__(self, http: HttpKube, runtime: Runtime) -> None:
        self.http, self.kube, self.runtime = http, http.kube, runtime

    def apply(self, name: str) -> None:
        self.kube.add(FINE_TUNE_JOBS, a_job(name))

    def is_done(self, name: str) -> bool:
        found = self.kube.find(FINE_TUNE_JOBS, "ml", name) or {}
        return found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]

    async def probe(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.runtime.port}{path}") as answer,
        ):
            return answer.status, await answer.text()


async def until(is_so: Callable[[], object], seconds: float = 10.0) -> None:
    for _ in range(int(seconds / 0.01)):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to be so")


@asynccontextmanager
async def running(
    tmp_path: Path, kube: FakeKube, monkeypatch: pytest.MonkeyPatch, *, streams_lists: bool = True
) -> AsyncGenerator[Running]:
    made: list[Runtime] = []

    def make(settings: OperatorSettings, environment: Mapping[str, str]) -> Runtime:
        made.append(Runtime(settings, environment, shells=shells))
        return made[0]

    monkeypatch.setattr("graft_operator.handlers.run.Runtime", make)
    monkeypatch.setattr("graft_operator.handlers.run.random.uniform", lambda low, high: 0.05)
    async with serve_kube(kube) as (http, url):
        http.streams_lists = streams_lists
        (tmp_path / "config").write_text(json.dumps(kubeconfig_of(url)))
        settings = OperatorSettings(kubeconfig=tmp_path / "config", probe_host="127.0.0.1", probe_port=0)
        task = asyncio.create_task(serve(settings, {}))
        await until(lambda: made and made[0].port)
        try:
            yield Running(http, made[0])
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_job_that_is_applied_gets_its_child_and_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, FakeKube(), monkeypatch) as operator:
        await until(lambda: operator.http.watching(FINE_TUNE_JOBS) and operator.http.watching(JOBS))
        operator.apply("one")
        await until(lambda: operator.is_done("one"))
        assert operator.kube.find(JOBS, "ml", "one-check") is not None
        assert await operator.probe("/healthz") == (200, "ok\n")
        assert await operator.probe("/readyz") == (200, "ok\n")
        metrics = (await operator.probe("/metrics"))[1]
        assert "graft_operator_leading_count 1.0" in metrics
        assert 'graft_operator_objects_count{kind="FineTuneJob",phase="Pending"} 1.0' in metrics
        assert 'graft_operator_api_requests_total{kind="Job",method="create",outcome="ok"} 1.0' in metrics
        found = operator.kube.find(FINE_TUNE_JOBS, "ml", "one")
        assert found is not None
        assert "kopf" not in json.dumps(found)
        asked = [query for _, path, query in operator.http.requests if path.endswith("/finetunejobs")]
        assert asked[0]["sendInitialEvents"] == "true"
        labelled = [query for _, path, query in operator.http.requests if path == "/apis/batch/v1/jobs"]
        assert {query["labelSelector"] for query in labelled} == {"graft.dev/uid"}
    lease = operator.kube.find(LEASES, "graft", "graft-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""


async def test_what_was_applied_while_no_operator_ran_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    for number in range(30):
        kube.add(FINE_TUNE_JOBS, a_job(f"job-{number}"))
    async with running(tmp_path, kube, monkeypatch) as operator:
        await until(lambda: all(operator.is_done(f"job-{number}") for number in range(30)))


async def test_a_server_that_streams_no_list_is_asked_for_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    kube.add(FINE_TUNE_JOBS, a_job("one"))
    async with running(tmp_path, kube, monkeypatch, streams_lists=False) as operator:
        await until(lambda: operator.is_done("one"))
        operator.apply("two")
        await until(lambda: operator.is_done("two"))
        asked = [
            query for _, path, query in operator.http.requests if path.endswith("/apis/graft.dev/v1alpha1/finetunejobs")
        ]
        assert [query.get("sendInitialEvents") for query in asked[:3]] == ["true", None, None]
        assert asked[1]["limit"] == "1000"
        assert asked[2]["resourceVersion"]


async def test_optional_resources_that_are_not_there_are_watched_from_when_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    kube.unserved |= {INFERENCE_SERVICES, TRAIN_JOBS, HTTP_ROUTES}
    async with running(tmp_path, kube, monkeypatch) as operator:
        operator.apply("one")
        await until(lambda: operator.is_done("one"))
        assert operator.http.watching(INFERENCE_SERVICES) == 0


async def test_row_14_missing_crds_mean_unready_and_waiting_not_crashing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    kube.unserved |= {FINE_TUNE_JOBS, MODEL_RELEASES}
    async with running(tmp_path, kube, monkeypatch) as operator:
        await until(lambda: operator.runtime._missing and "served" in operator.runtime._missing[0])
        assert await operator.probe("/readyz") == (
            503,
            "finetunejobs.graft.dev is not served; modelreleases.graft.dev is not served\n",
        )
        assert (await operator.probe("/healthz"))[0] == 200


@pytest.mark.parametrize(
    "line",
    [b"{not json\n", b'{"type": "ERROR", "object": {"code": 500, "message": "etcd"}}\n', b"[]\n"],
    ids=["malformed", "an error", "not an event"],
)
async def test_row_13_a_watch_that_tells_nonsense_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    async with running(tmp_path, FakeKube(), monkeypatch) as operator:
        await until(lambda: operator.http.watching(FINE_TUNE_JOBS))
        operator.http.inject(FINE_TUNE_JOBS, line)
        operator.apply("after")
        await until(lambda: operator.is_done("after"))
        assert (await operator.probe("/healthz"))[0] == 200


async def test_row_7_a_watch_whose_version_is_too_old_lists_anew_and_misses_no_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path, FakeKube(), monkeypatch) as operator:
        await until(lambda: operator.http.watching(FINE_TUNE_JOBS))
        operator.apply("goes")
        await until(lambda: operator.is_done("goes"))
        operator.http.mute(FINE_TUNE_JOBS)
        operator.kube.edit(FINE_TUNE_JOBS, "ml", "goes", {"metadata": {"finalizers": []}})
        operator.kube.remove(FINE_TUNE_JOBS, "ml", "goes")
        operator.apply("comes")
        operator.http.mute(FINE_TUNE_JOBS, is_muted=False)
        operator.http.expire(FINE_TUNE_JOBS)
        await until(lambda: operator.is_done("comes"))
        # The list does not tell of what is gone; the timed look does.
        monkeypatch.setattr("graft_operator.engine.resync.WATCH_PATIENCE_S", 0.01)
        await operator.runtime._resync.look()
        assert [key.name for key, _ in operator.runtime.directory.items()] == ["comes"]


async def test_a_server_that_refuses_for_a_while_is_outlived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    async with running(tmp_path, kube, monkeypatch) as operator:
        await until(lambda: operator.http.watching(FINE_TUNE_JOBS))
        operator.http.refusals += [
            ("finetunejobs/", 500, {}),
            ("jobs/", 503, {}),
            ("status", 429, {"Retry-After": "0"}),
        ]
        operator.apply("one")
        await until(lambda: operator.is_done("one"))
        assert [job["metadata"]["name"] for job in kube.all(JOBS)] == ["one-check"]


@pytest.mark.slow
async def test_row_5_a_slow_store_costs_time_and_no_leadership(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube()
    async with running(tmp_path, kube, monkeypatch) as operator:
        await until(lambda: operator.http.watching(FINE_TUNE_JOBS))
        operator.http.delay_s = 0.5
        operator.apply("one")
        await until(lambda: operator.is_done("one"))
        before = kube.find(LEASES, "graft", "graft-operator")
        assert before is not None
        await asyncio.sleep(3)
        after = kube.find(LEASES, "graft", "graft-operator")
        assert after is not None
        assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        assert after["spec"]["leaseTransitions"] == 0
        assert "graft_operator_leading_count 1.0" in (await operator.probe("/metrics"))[1]


@pytest.mark.slow
async def test_row_6_twenty_conflicts_in_a_row_lose_nobodys_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    async with running(tmp_path, kube, monkeypatch) as operator:
        await until(lambda: operator.http.watching(FINE_TUNE_JOBS))
        for _ in range(20):
            kube.fail("patch", Conflict("the object has been modified"), FINE_TUNE_JOBS)
        operator.apply("one")
        kube.edit(FINE_TUNE_JOBS, "ml", "one", {"metadata": {"labels": {"theirs": "1"}}})
        await until(lambda: operator.is_done("one"), 19)
        found = kube.find(FINE_TUNE_JOBS, "ml", "one")
        assert found is not None
        assert found["metadata"]["labels"] == {"theirs": "1"}


@pytest.mark.slow
async def test_row_9_three_in_ten_requests_fail_and_all_comes_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    async with running(tmp_path, kube, monkeypatch) as operator:
        await until(lambda: operator.http.watching(FINE_TUNE_JOBS))
        operator.http.failure_share = 0.3
        for number in range(20):
            operator.apply(f"job-{number}")
        await until(lambda: all(operator.is_done(f"job-{number}") for number in range(20)), 120)
        assert len(kube.all(JOBS)) == 20


async def test_row_14_a_crd_that_goes_and_comes_again_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube()
    async with running(tmp_path, kube, monkeypatch) as operator:
        await until(lambda: operator.http.watching(FINE_TUNE_JOBS))
        kube.unserved |= {FINE_TUNE_JOBS, MODEL_RELEASES}
        operator.http.cut(FINE_TUNE_JOBS)
        await until(lambda: not operator.http.watching(FINE_TUNE_JOBS))
        await asyncio.sleep(0.5)
        kube.unserved.clear()
        name = f"{FINE_TUNE_JOBS.plural}.{FINE_TUNE_JOBS.group}"
        kube.add(CRDS, {"metadata": {"name": name, "namespace": "-"}, "spec": {"group": FINE_TUNE_JOBS.group}})
        await until(lambda: operator.http.watching(FINE_TUNE_JOBS))
        operator.apply("one")
        await until(lambda: operator.is_done("one"))
        assert (await operator.probe("/healthz"))[0] == 200
