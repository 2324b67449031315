"""The order of a request's stages, and what each does when something goes wrong."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from graft_core.errors import InvalidInput, NotSupported
from graft_core.tasks.messages import Message
from graft_predictor.caching.base import CachedAnswer
from graft_predictor.engines.base import Chunk, ContextLengthExceeded, EngineFailed, GenerateRequest, Sampling, Usage
from graft_predictor.guards.base import GuardrailBlocked
from graft_predictor.pipeline.errors import DeadlineExceeded, Overloaded
from graft_predictor.pipeline.exchange import Call, Exchange
from tests.predictor.builders import Arm, a_json_task, an_arm
from tests.predictor.doubles import ScriptedEngine

CACHED: dict[str, Any] = {"cache": {"memory": {"maxEntries": 10}}}
JSON_GUARD: dict[str, Any] = {"guardrails": {"output": [{"type": "json-schema", "action": "repair"}]}}


def a_call(text: str = "hello", **changes: Any) -> Call:
    return Call((Message("user", text),), **changes)


async def ask(arm: Arm, call: Call | None = None, *, tenant: str | None = None) -> tuple[str, Exchange]:
    exchange = arm.service.begin("chat")
    exchange.tenant = tenant
    text = "".join([chunk.text async for chunk in arm.service.pipeline.run(call or a_call(), exchange)])
    return text, exchange


class BrokenTier:
    """A double of a tier that has everything, and none of it of use."""

    def __init__(self, answer: CachedAnswer | None) -> None:
        self.answer = answer
        self.kept: list[CachedAnswer] = []

    async def get(self, key: bytes) -> CachedAnswer | None:
        return self.answer

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        self.kept.append(answer)


async def test_a_second_equal_request_is_answered_from_memory() -> None:
    engine = ScriptedEngine()
    arm = an_arm(engine, **CACHED)

    (first, one), (second, two) = await ask(arm), await ask(arm)

    assert first == second == "echo hello"
    assert (one.cache, two.cache) == ("miss", "memory")
    assert len(engine.requests) == 1


async def test_tenants_never_share_an_answer() -> None:
    engine = ScriptedEngine()
    arm = an_arm(engine, **CACHED)

    caches = [(await ask(arm, tenant=tenant))[1].cache for tenant in ("a", "b", None, "a")]

    assert caches == ["miss", "miss", "miss", "memory"]


@pytest.mark.parametrize(
    ("call", "config"),
    [
        (a_call(sampling=Sampling(temperature=0.3)), {"cache": {"cacheable": {"maxTemperature": "0.2"}}}),
        (a_call(may_cache=False), {}),
    ],
)
async def test_what_may_not_be_reused_goes_past_the_cache(call: Call, config: dict[str, Any]) -> None:
    arm = an_arm(**config)

    assert [(await ask(arm, call))[1].cache for _ in range(2)] == ["bypass", "bypass"]


async def test_a_temperature_up_to_the_bound_is_cached() -> None:
    arm = an_arm(cache={"cacheable": {"maxTemperature": "0.5"}})
    call = a_call(sampling=Sampling(temperature=0.5, seed=1))

    assert [(await ask(arm, call))[1].cache for _ in range(2)] == ["miss", "memory"]


async def test_the_exact_tier_answers_and_fills_the_memory() -> None:
    exact = BrokenTier(CachedAnswer("kept", Usage(1, 1)))
    arm = an_arm(exact=exact)

    (text, one), (_, two) = await ask(arm), await ask(arm)

    assert text == "kept"
    assert (one.cache, two.cache) == ("exact", "memory")


async def test_an_answer_cut_off_by_length_is_never_kept() -> None:
    exact = BrokenTier(None)
    arm = an_arm(exact=exact)
    _, exchange = await ask(arm, a_call(sampling=Sampling(max_tokens=1)))

    assert exchange.finish_reason == "length"
    assert exact.kept == []


async def test_an_answer_that_failed_half_way_is_never_kept() -> None:
    engine, exact = ScriptedEngine(), BrokenTier(None)
    engine.fail_times, engine.fail_after_chunks = 1, 1
    arm = an_arm(engine, exact=exact)

    with pytest.raises(EngineFailed):
        await ask(arm)
    assert exact.kept == []
    assert (await ask(arm))[1].cache == "miss"


async def test_32_equal_requests_at_one_time_are_one_for_the_engine() -> None:
    engine = ScriptedEngine()
    engine.hold = asyncio.Event()
    arm = an_arm(engine)
    tasks = [asyncio.create_task(ask(arm)) for _ in range(32)]
    await engine.is_asked.wait()
    engine.hold.set()
    results = await asyncio.gather(*tasks)

    assert len(engine.requests) == 1
    assert {text for text, _ in results} == {"echo hello"}


async def test_a_follower_tries_itself_when_the_leader_fails() -> None:
    engine = ScriptedEngine()
    engine.fail_times = 1
    arm = an_arm(engine)
    tasks = [asyncio.create_task(ask(arm)) for _ in range(4)]
    leader, *followers = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(leader, EngineFailed)
    assert [result[0] for result in followers if isinstance(result, tuple)] == ["echo hello"] * 3
    assert len(engine.requests) == 2


async def test_a_leader_whose_client_leaves_does_not_fail_its_followers() -> None:
    engine = ScriptedEngine()
    engine.hold = asyncio.Event()
    arm = an_arm(engine)
    leader = arm.service.pipeline.run(a_call(), arm.service.begin("chat"))
    await anext(leader)
    follower = asyncio.create_task(ask(arm))
    for _ in range(5):
        await asyncio.sleep(0)
    await leader.aclose()
    engine.hold.set()

    assert (await follower)[0] == "echo hello"
    assert len(engine.requests) == 1


async def test_a_client_that_leaves_stops_the_engine() -> None:
    engine = ScriptedEngine()
    engine.hold = asyncio.Event()
    arm = an_arm(engine)
    chunks = arm.service.pipeline.run(a_call(), arm.service.begin("chat"))
    await anext(chunks)
    await chunks.aclose()
    for _ in range(5):
        await asyncio.sleep(0)

    assert engine.closed == 1


async def test_more_than_max_concurrency_is_refused_and_room_comes_back() -> None:
    engine = ScriptedEngine()
    engine.hold = asyncio.Event()
    arm = an_arm(engine, maxConcurrency=1)
    first = arm.service.pipeline.run(a_call("one"), arm.service.begin("chat"))
    await anext(first)

    with pytest.raises(Overloaded, match=r"predictor\.maxConcurrency"):
        await ask(arm, a_call("two"))
    await first.aclose()
    engine.hold.set()
    assert (await ask(arm, a_call("two")))[0] == "echo two"


async def test_an_answer_that_takes_too_long_ends_at_its_deadline() -> None:
    engine = ScriptedEngine()
    engine.hold = asyncio.Event()
    arm = an_arm(engine, timeoutSeconds=1)
    exchange = arm.service.begin("chat")
    exchange.started -= 0.99
    with pytest.raises(DeadlineExceeded, match=r"predictor\.timeoutSeconds"):
        async for _ in arm.service.pipeline.run(a_call(), exchange):
            pass


async def test_the_input_guard_counts_the_rendered_prompt() -> None:
    arm = an_arm(guardrails={"input": [{"type": "max-tokens", "max": 2}]})

    assert (await ask(arm, a_call("a b")))[1].guardrails == "max-tokens=pass"
    with pytest.raises(GuardrailBlocked, match="has 3 tokens, guardrail max-tokens allows 2"):
        await ask(arm, a_call("a b c"))


@pytest.mark.parametrize(("on_error", "is_open"), [("open", True), ("closed", False)])
async def test_an_input_guard_that_fails_does_what_on_error_says(on_error: str, is_open: bool) -> None:
    engine = ScriptedEngine()
    engine.count_tokens = lambda messages: 1 // 0  # type: ignore[method-assign]  # a guard that breaks
    engine.generate = ScriptedEngine().generate  # type: ignore[method-assign]  # which counts, too
    arm = an_arm(engine, guardrails={"input": [{"type": "max-tokens", "max": 9}], "onError": on_error})

    if is_open:
        assert (await ask(arm))[1].guardrails == "max-tokens=error"
    else:
        with pytest.raises(GuardrailBlocked, match="is set to refuse"):
            await ask(arm)


async def test_json_that_keeps_the_schema_passes() -> None:
    arm = an_arm(ScriptedEngine(lambda _: '{"keyword": "áo"}'), task=a_json_task(), **JSON_GUARD)

    text, exchange = await ask(arm)

    assert text == '{"keyword": "áo"}'
    assert exchange.guardrails == "json-schema=pass"


async def test_json_that_breaks_the_schema_is_repaired_once_with_the_fault() -> None:
    engine = ScriptedEngine(lambda text: '{"keyword": "áo"}' if "not valid" in text else '{"wrong": 1}')
    arm = an_arm(engine, task=a_json_task(), **JSON_GUARD)

    text, exchange = await ask(arm)

    assert text == '{"keyword": "áo"}'
    assert exchange.guardrails == "json-schema=repaired"
    repair = engine.requests[1].messages
    assert [message.role for message in repair] == ["user", "assistant", "user"]
    assert "keyword: is missing" in repair[-1].content
    assert (await ask(arm))[1].cache == "memory"


async def test_json_that_stays_broken_is_blocked_and_not_kept() -> None:
    engine = ScriptedEngine(lambda _: "no json at all")
    arm = an_arm(engine, task=a_json_task(), **JSON_GUARD)

    for asked in (2, 4):
        with pytest.raises(GuardrailBlocked, match="does not keep the task's output schema") as caught:
            await ask(arm)
        assert len(engine.requests) == asked
    assert "no json at all" not in str(caught.value)


async def test_without_repair_the_first_fault_blocks() -> None:
    engine = ScriptedEngine(lambda _: "no")
    arm = an_arm(engine, task=a_json_task(), guardrails={"output": [{"type": "json-schema", "action": "block"}]})

    with pytest.raises(GuardrailBlocked):
        await ask(arm)
    assert len(engine.requests) == 1


@pytest.mark.parametrize(("on_error", "is_open"), [("open", True), ("closed", False)])
async def test_an_output_guard_that_fails_does_what_on_error_says(
    on_error: str, is_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("graft_predictor.guards.output_rules.parse_output", broken)
    arm = an_arm(task=a_json_task(), guardrails={"output": [{"type": "json-schema"}], "onError": on_error})

    if is_open:
        assert (await ask(arm))[1].guardrails == "json-schema=error"
    else:
        with pytest.raises(GuardrailBlocked, match="is set to refuse"):
            await ask(arm)


async def test_guards_run_on_kept_answers_too() -> None:
    engine = ScriptedEngine(lambda _: '{"keyword": "new"}')
    exact = BrokenTier(CachedAnswer("poisoned", Usage(1, 1)))
    arm = an_arm(engine, task=a_json_task(), exact=exact, **JSON_GUARD)

    text, exchange = await ask(arm)

    assert text == '{"keyword": "new"}'
    assert exchange.cache == "miss"


@pytest.mark.parametrize(
    ("guardrails", "error", "told"),
    [
        ({"input": [{"type": "pii", "entities": ["EMAIL"]}]}, NotSupported, r"guardrails.input\[0\].type: 'pii'"),
        ({"output": [{"type": "pii", "entities": ["EMAIL"]}]}, NotSupported, r"guardrails.output\[0\].type: 'pii'"),
        ({"output": [{"type": "json-schema"}]}, InvalidInput, "needs a task of type 'text-to-json'"),
    ],
)
def test_a_rule_that_is_not_built_is_refused_by_name(
    guardrails: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        an_arm(guardrails=guardrails)


async def test_row_58_a_prompt_that_cannot_fit_is_refused_unread() -> None:
    engine = ScriptedEngine(context_length=10)
    arm = an_arm(engine)

    with pytest.raises(ContextLengthExceeded, match="has 641 characters") as caught:
        await ask(arm, a_call("x" * 641))
    assert caught.value.path == "messages"
    assert engine.requests == []


@pytest.mark.parametrize("text", ["", "  \n", "\u200b" * 100, "\u202e\u2066"])
async def test_row_58_a_prompt_that_nobody_can_see_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        await ask(an_arm(), a_call(text))


async def test_an_engine_that_ends_without_a_reason_has_failed() -> None:
    class Silent(ScriptedEngine):
        async def generate(self, request: GenerateRequest) -> AsyncGenerator[Chunk]:
            yield Chunk("half")

    for task, config in ((None, {}), (a_json_task(), JSON_GUARD)):
        with pytest.raises(EngineFailed, match="broke off"):
            await ask(an_arm(Silent(), task=task, **config))
