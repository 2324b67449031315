"""The real client over HTTP on loopback: what it sends, how it takes refusals, and that nothing passes a shut fence."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from graft_core.clock import SystemClock
from graft_core.errors import Conflict, Forbidden, GraftError, InvalidInput, NotReady
from graft_operator.cluster.client import KubernetesCluster
from graft_operator.cluster.credentials import CredentialSource
from graft_operator.cluster.faults import Call
from graft_operator.cluster.lease import Fence, Timing
from graft_operator.cluster.transport import Limits, Transport
from graft_operator.ports import FINE_TUNE_JOBS, INFERENCE_SERVICES, JOBS, PODS, Json
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.loopback

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN = "canary-token-of-the-service-account"
JOB: Json = {"metadata": {"name": "a", "namespace": "ml"}, "spec": {"completions": 1}}


class Server:
    """A server on loopback that answers by a script, and keeps what it was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], Json]] = []
        self.tokens: list[str] = []
        self.script: list[Handler] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.method, request.path, dict(request.query), json.loads(body) if body else {}))
        self.tokens.append(request.headers.get("Authorization", ""))
        handler = self.script.pop(0) if self.script else ok({"metadata": {"name": "a"}})
        return await handler(request)


def ok(body: object) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    return answer


def refuse(status: int, message: str = "no", *, retry_after: str = "", **details: object) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        told = {"kind": "Status", "message": message, "reason": "Refused", "details": details}
        return web.json_response(told, status=status, headers={"Retry-After": retry_after} if retry_after else {})

    return answer


def hang() -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    return answer


@asynccontextmanager
async def connected(
    tmp_path: Path, fence: Fence | None = None, limits: Limits | None = None
) -> AsyncGenerator[tuple[Server, KubernetesCluster, list[tuple[Call, str]]]]:
    server, told = Server(), list[tuple[Call, str]]()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", server.answer)
    async with TestServer(app, host="127.0.0.1") as listening:
        (tmp_path / "token").write_text(TOKEN)
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "ml"}}],
            "clusters": [{"name": "k", "cluster": {"server": str(listening.make_url(""))}}],
            "users": [{"name": "u", "user": {"tokenFile": "token"}}],
        }
        (tmp_path / "config").write_text(json.dumps(config))
        source = CredentialSource({}, kubeconfig=tmp_path / "config")
        transport = Transport(
            source,
            SystemClock(),
            fence=fence,
            limits=limits,
            answered=lambda call, outcome, _: told.append((call, outcome)),
        )
        cluster = KubernetesCluster(transport, SystemClock())
        try:
            yield server, cluster, told
        finally:
            await cluster.close()


async def test_each_verb_is_one_request(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, cluster, told):
        await cluster.get(JOBS, "ml", "a")
        await cluster.create(JOBS, JOB)
        await cluster.apply(JOBS, JOB)
        await cluster.patch(FINE_TUNE_JOBS, "ml", "a", {"status": {}}, resource_version="7", subresource="status")
        await cluster.delete(JOBS, "ml", "a", uid="u", resource_version="8", grace_s=30)
    strict = {"fieldManager": "graft", "fieldValidation": "Strict"}
    jobs, mine = "/apis/batch/v1/namespaces/ml/jobs", "/apis/graft.dev/v1alpha1/namespaces/ml/finetunejobs/a/status"
    kind = {"apiVersion": "batch/v1", "kind": "Job"}
    assert server.seen[:4] == [
        ("GET", f"{jobs}/a", {}, {}),
        ("POST", jobs, strict, JOB),
        ("PATCH", f"{jobs}/a", {**strict, "force": "true"}, {**kind, **JOB}),
        ("PATCH", mine, strict, {"status": {}, "metadata": {"resourceVersion": "7"}}),
    ]
    assert server.seen[4][3]["preconditions"] == {"uid": "u", "resourceVersion": "8"}
    assert (server.seen[4][3]["propagationPolicy"], server.seen[4][3]["gracePeriodSeconds"]) == ("Background", 30)
    assert server.tokens == [f"Bearer {TOKEN}"] * 5
    assert [(call.verb, outcome) for call, outcome in told] == [
        (verb, "ok") for verb in ("get", "create", "apply", "patch", "delete")
    ]


async def test_a_list_is_read_page_by_page_and_its_items_say_what_they_are(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, cluster, _):
        server.script = [
            ok({"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}),
            ok({"metadata": {}, "items": [{"metadata": {"name": "b"}}]}),
        ]
        found = await cluster.list(JOBS, "", {"graft.dev/uid": "", "graft.dev/role": "train"})
        assert [item["metadata"]["name"] for item in found] == ["a", "b"]
        assert {(item["apiVersion"], item["kind"]) for item in found} == {("batch/v1", "Job")}
        query = {"limit": "500", "labelSelector": "graft.dev/role=train,graft.dev/uid"}
        assert [(path, asked) for _, path, asked, _ in server.seen] == [
            ("/apis/batch/v1/jobs", query),
            ("/apis/batch/v1/jobs", {**query, "continue": "more"}),
        ]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (409, Conflict, "create jobs ml/a: 409 no"),
        (403, Forbidden, "grant it"),
        (422, InvalidInput, "422 no"),
        (413, InvalidInput, "413"),
        (404, InvalidInput, "404"),
        (429, NotReady, "429"),
        (500, NotReady, "500"),
        (503, NotReady, "503"),
    ],
)
async def test_a_refused_write_is_told_by_reaction_and_tried_once(
    tmp_path: Path, status: int, kind: type[GraftError], words: str
) -> None:
    async with connected(tmp_path) as (server, cluster, told):
        server.script = [refuse(status, causes=[{"field": "spec.completions"}])]
        with pytest.raises(kind, match=words) as caught:
            await cluster.create(JOBS, JOB)
        assert TOKEN not in str(caught.value)
        assert len(server.seen) == 1
        assert told[0][1] == caught.value.reason
        if status == 422:
            assert isinstance(caught.value, InvalidInput)
            assert caught.value.path == "spec.completions"


async def test_what_a_webhook_refuses_is_a_wrong_object_and_no_missing_right(tmp_path: Path) -> None:
    # As KServe's webhooks answer: 403, though nobody lacks a right.
    said = 'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: no canary'
    async with connected(tmp_path) as (server, cluster, _):
        server.script = [refuse(403, said)]
        with pytest.raises(InvalidInput, match="no canary") as caught:
            await cluster.create(JOBS, JOB)
        assert "grant" not in str(caught.value)


async def test_a_read_is_tried_again_and_a_long_retry_after_is_handed_on(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, cluster, _):
        server.script = [refuse(503, retry_after="0"), refuse(500, retry_after="0"), ok({"metadata": {"name": "a"}})]
        assert await cluster.get(JOBS, "ml", "a") == {"metadata": {"name": "a"}}
        server.script = [refuse(429, retry_after="60")]
        with pytest.raises(NotReady) as caught:
            await cluster.get(JOBS, "ml", "a")
        assert caught.value.retry_after_s == 60
        assert len(server.seen) == 4


async def test_what_is_not_there_is_none_or_nothing_and_deleting_it_is_success(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, cluster, _):
        server.script = [refuse(404)] * 5
        assert await cluster.get(JOBS, "ml", "a") is None
        assert await cluster.list(INFERENCE_SERVICES, "", {}) == []
        assert not await cluster.serves(INFERENCE_SERVICES)
        await cluster.delete(JOBS, "ml", "a", uid="u")
        with pytest.raises(InvalidInput, match="404"):
            await cluster.patch(JOBS, "ml", "a", {})
        assert not await cluster.serves(INFERENCE_SERVICES)  # believed for a minute
        assert len(server.seen) == 5


async def test_a_token_that_is_refused_is_read_again_once(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, cluster, _):

        async def rotate(_: web.Request) -> web.StreamResponse:
            (tmp_path / "token").write_text("fresh")
            return web.json_response({}, status=401)

        server.script = [rotate]
        await asyncio.gather(*(cluster.create(JOBS, JOB) for _ in range(3)))
        assert server.tokens[-1] == "Bearer fresh"
        server.script = [refuse(401), refuse(401)]
        with pytest.raises(Forbidden, match="renew the credentials"):
            await cluster.get(JOBS, "ml", "a")


async def test_a_server_that_hangs_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    async with connected(tmp_path, limits=Limits(write_s=0.05, read_s=0.05)) as (server, cluster, _):
        server.script = [hang(), hang()]
        with pytest.raises(NotReady, match=r"patch jobs ml/a: no answer \(TimeoutError\)"):
            await cluster.patch(JOBS, "ml", "a", {})
        with pytest.raises(NotReady, match="no answer"):
            await cluster.get(JOBS, "ml", "a")


async def test_no_more_requests_are_under_way_than_allowed(tmp_path: Path) -> None:
    async with connected(tmp_path, limits=Limits(max_in_flight=2)) as (server, cluster, _):
        at_once, most = 0, 0

        async def count(_: web.Request) -> web.StreamResponse:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1
            return web.json_response({})

        server.script = [count] * 8
        await asyncio.gather(*(cluster.get(JOBS, "ml", str(n)) for n in range(8)))
        assert most == 2


async def test_reads_pass_a_shut_fence_and_writes_do_not(tmp_path: Path) -> None:
    clock = FakeClock()
    fence = Fence(clock, Timing())
    async with connected(tmp_path, fence) as (server, cluster, told):
        writes: list[Callable[[], Awaitable[object]]] = [
            lambda: cluster.create(JOBS, JOB),
            lambda: cluster.apply(JOBS, JOB),
            lambda: cluster.patch(JOBS, "ml", "a", {}),
            lambda: cluster.delete(JOBS, "ml", "a", uid="u"),
        ]
        for write in writes:
            with pytest.raises(NotReady, match="does not lead"):
                await write()
        await cluster.get(JOBS, "ml", "a")
        assert [method for method, *_ in server.seen] == ["GET"]
        fence.renew(clock.monotonic())
        for write in writes:
            await write()
        clock.advance(10.1)
        for write in writes:
            with pytest.raises(NotReady, match="does not lead"):
                await write()
        assert len(server.seen) == 5
        assert {outcome for _, outcome in told} == {"ok", "NotLeading"}


async def test_a_leader_frozen_while_it_waited_for_its_turn_sends_nothing_as_it_wakes(tmp_path: Path) -> None:
    clock = FakeClock()
    fence = Fence(clock, Timing())
    fence.renew(clock.monotonic())
    async with connected(tmp_path, fence, Limits(max_in_flight=1)) as (server, cluster, _):

        async def freeze(_: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.02)
            clock.advance(60)
            return web.json_response({})

        server.script = [freeze]
        first = asyncio.create_task(cluster.get(JOBS, "ml", "a"))
        await asyncio.sleep(0.005)
        second = asyncio.create_task(cluster.create(JOBS, JOB))  # past the first look at the fence, waiting for a slot
        await first
        with pytest.raises(NotReady, match="does not lead"):
            await second
        assert [method for method, *_ in server.seen] == ["GET"]


class Frozen(Fence):
    """A fence whose process is frozen right after a look at it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, Timing())
        self._moving = clock
        self._is_to_freeze = True

    def check(self) -> None:
        super().check()
        if self._is_to_freeze:
            self._is_to_freeze = False
            self._moving.advance(60)


async def test_a_leader_frozen_between_two_looks_at_the_fence_sends_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    fence = Frozen(clock)
    fence.renew(clock.monotonic())
    async with connected(tmp_path, fence) as (server, cluster, told):
        with pytest.raises(NotReady, match="does not lead"):
            await cluster.patch(JOBS, "ml", "a", {"spec": {"suspend": True}})
        assert server.seen == []
        fence.renew(clock.monotonic())
        await cluster.patch(JOBS, "ml", "a", {"spec": {"suspend": True}})  # on a connection of its own
        assert len(server.seen) == 1
        assert [outcome for _, outcome in told] == ["NotLeading", "ok"]


async def test_a_pod_is_asked_at_its_own_address(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, cluster, _):
        with pytest.raises(NotReady, match="no address"):
            await cluster.fetch_pod("ml", "a", 80, "/progress")
        async with TestServer(web.Application(), host="127.0.0.1") as pod:
            port = pod.port
            assert port is not None
            server.script = [ok({"metadata": {"name": "a"}, "status": {"podIP": "127.0.0.1"}})]
            with pytest.raises(NotReady, match="answered 404"):
                await cluster.fetch_pod("ml", "a", port, "/progress")
        assert server.seen[-1][1] == PODS.path("ml", "a")


async def test_an_answer_that_is_no_json_is_no_answer(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, cluster, _):

        async def cut(_: web.Request) -> web.StreamResponse:
            return web.Response(text="<html>gateway</html>")

        server.script = [cut]
        with pytest.raises(NotReady, match="JSONDecodeError"):
            await cluster.create(JOBS, JOB)
