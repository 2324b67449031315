"""OpenAI's routes as a client sees them, in this process and without a socket."""

import asyncio
from typing import Any

import pytest

from graft_predictor.engines.base import EngineFailed
from graft_predictor.pipeline.metrics import MAX_FOREIGN_REVISIONS
from tests.predictor.builders import REVISION, a_json_task, a_label_task, an_arm, events_of
from tests.predictor.doubles import ScriptedEngine, SetClock

CACHED: dict[str, Any] = {"cache": {"memory": {"maxEntries": 10}, "tenantHeader": "x-tenant-id"}}


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1"])
async def test_a_chat_is_answered_in_openais_shape(prefix: str) -> None:
    arm = an_arm()
    response = await arm.client.post(
        f"{prefix}/chat/completions", json={"model": "shop", "messages": [{"role": "user", "content": "hi"}]}
    )

    body = response.json()
    assert response.status_code == 200
    assert body.pop("created") > 0
    assert body == {
        "id": response.headers["x-graft-request-id"],
        "model": "shop",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "echo hi", "refusal": None},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


async def test_the_response_headers_tell_cache_revision_request_and_guards() -> None:
    arm = an_arm(**CACHED)
    first, second = await arm.chat(), await arm.chat()

    assert (first.headers["x-graft-cache"], second.headers["x-graft-cache"]) == ("miss", "memory")
    assert first.headers["x-graft-revision"] == REVISION
    assert first.headers["x-graft-request-id"].startswith(f"gr-{REVISION}-")
    assert first.headers["x-graft-request-id"] != second.headers["x-graft-request-id"]
    assert first.headers["x-graft-guardrails"] == "none"


async def test_a_stream_has_role_text_end_usage_and_done() -> None:
    arm = an_arm()
    response = await arm.chat("hi", stream=True, stream_options={"include_usage": True})

    *events, done = events_of(response)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert done == "[DONE]"
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    deltas = [event["choices"][0]["delta"] for event in events[1:-1]]
    assert [delta.get("content") for delta in deltas] == ["echo", " hi", None]
    assert [event["choices"][0]["finish_reason"] for event in events[:-1]] == [None, None, None, "stop"]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in events}) == 1


async def test_without_the_option_a_stream_has_no_usage() -> None:
    events = events_of(await an_arm().chat("hi", stream=True))

    assert all("usage" not in event for event in events[:-1])


async def test_a_stream_and_a_whole_answer_share_one_entry() -> None:
    arm = an_arm(**CACHED)
    whole = await arm.chat("hi")
    streamed = await arm.chat("hi", stream=True)

    assert streamed.headers["x-graft-cache"] == "memory"
    text = "".join(e["choices"][0]["delta"].get("content", "") for e in events_of(streamed)[:-1])
    assert text == whole.json()["choices"][0]["message"]["content"]


async def test_a_failure_before_the_first_chunk_is_a_plain_error() -> None:
    engine = ScriptedEngine()
    engine.fail_times = 1
    response = await an_arm(engine).chat(stream=True)

    assert response.status_code == 502
    assert response.json()["error"]["code"] == "engine_failed"


async def test_a_failure_in_a_stream_is_an_error_event_and_no_done() -> None:
    engine = ScriptedEngine()
    engine.fail_times, engine.fail_after_chunks = 1, 1
    arm = an_arm(engine)
    events = events_of(await arm.chat(stream=True))

    assert events[-1]["error"]["type"] == "engine_error"
    assert "[DONE]" not in events
    assert arm.count("graft_predictor_requests_total", outcome="error") == 1


async def test_guarded_answers_are_streamed_after_the_guard() -> None:
    arm = an_arm(
        ScriptedEngine(lambda _: '{"keyword": "áo"}'),
        task=a_json_task(),
        guardrails={"output": [{"type": "json-schema", "action": "repair"}]},
    )
    response = await arm.chat(stream=True)

    assert response.headers["x-graft-guardrails"] == "json-schema=pass"
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events_of(response)[:-1]) == '{"keyword": "áo"}'


async def test_a_blocked_answer_is_422_and_counted_as_blocked() -> None:
    arm = an_arm(
        ScriptedEngine(lambda _: "no"),
        task=a_json_task(),
        guardrails={"output": [{"type": "json-schema", "action": "repair"}]},
    )
    response = await arm.chat()

    assert response.status_code == 422
    assert response.json()["error"]["type"] == "guardrail"
    assert response.json()["error"]["code"] == "json-schema"
    assert arm.count("graft_predictor_requests_total", outcome="blocked") == 1


async def test_completions_take_the_prompt_as_the_tasks_input() -> None:
    arm = an_arm(memory=False)
    whole = await arm.client.post("/v1/completions", json={"prompt": ["hi"]})
    stream = await arm.client.post("/v1/completions", json={"prompt": "hi", "stream": True})

    assert whole.json()["object"] == "text_completion"
    assert whole.json()["choices"][0]["text"] == "echo hi"
    assert [event["choices"][0]["text"] for event in events_of(stream)[:-1]] == ["echo", " hi", ""]


async def test_models_are_listed_for_openai_and_kserve_clients_alike() -> None:
    arm = an_arm()
    listed = (await arm.client.get("/v1/models")).json()
    one = await arm.client.get("/openai/v1/models/shop")

    assert [model["id"] for model in listed["data"]] == ["shop"]
    assert listed["models"] == ["shop"]
    assert one.json()["ready"] is True
    assert (await arm.client.get("/v1/models/other")).status_code == 404
    assert (await an_arm(is_ready=False).client.get("/v1/models/shop")).status_code == 503


async def test_an_unknown_model_is_not_found() -> None:
    response = await an_arm().chat(model="gpt-4o")

    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert response.json()["error"]["param"] == "model"


async def test_a_classifier_answers_texts_and_chats() -> None:
    scores = {"billing": 0.75, "delivery": 0.25}
    arm = an_arm(ScriptedEngine(lambda _: "billing", scores=scores), task=a_label_task())
    one = (await arm.client.post("/v1/classify", json={"input": "my bill"})).json()
    many = (await arm.client.post("/v1/classify", json={"input": ["a", "b"]})).json()
    chat = (await arm.chat("my bill")).json()

    assert (one["label"], one["confidence"], one["scores"]) == ("billing", 0.75, scores)
    assert [result["label"] for result in many["results"]] == ["billing", "billing"]
    assert chat["choices"][0]["message"]["content"] == "billing"
    assert chat["graft"] == {"confidence": 0.75, "scores": scores}
    assert arm.count("graft_predictor_requests_total", outcome="ok") == 3


async def test_classify_is_refused_for_other_tasks() -> None:
    response = await an_arm().client.post("/v1/classify", json={"input": "x"})

    assert response.status_code == 400
    assert "'chat'" in response.json()["error"]["message"]


async def test_feedback_counts_for_the_revision_in_the_request_id() -> None:
    arm = an_arm()
    request_id = (await arm.chat()).headers["x-graft-request-id"]
    post = arm.client.post
    mine = await post("/v1/feedback", json={"request_id": request_id, "score": 0.5})
    again = await post("/v1/feedback", json={"request_id": request_id, "score": 1})
    other = await post("/v1/feedback", json={"request_id": "gr-abcdef0123-0123456789", "score": 1})
    told = await post("/v1/feedback", json={"request_id": request_id, "correct_output": "better"})

    assert [r.json()["counted"] for r in (mine, again, other, told)] == [True, False, True, False]
    assert arm.count("graft_predictor_feedback_score_sum") == 0.5
    assert arm.count("graft_predictor_feedback_score_count") == 1
    assert arm.registry.get_sample_value("graft_predictor_feedback_score_sum", {"revision": "abcdef0123"}) == 1


async def test_feedback_for_too_many_foreign_revisions_is_refused() -> None:
    arm = an_arm()
    ids = [f"gr-{i:010x}-0123456789" for i in range(MAX_FOREIGN_REVISIONS + 1)]
    codes = [(await arm.client.post("/v1/feedback", json={"request_id": i, "score": 1})).status_code for i in ids]

    assert codes == [200] * MAX_FOREIGN_REVISIONS + [400]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"score": 1}, "request_id"),
        ({"request_id": "no", "score": 1}, "request_id"),
        ({"request_id": f"gr-{REVISION}-../../x", "score": 1}, "request_id"),
        ({"request_id": "x"}, "score"),
        ({"request_id": "x", "score": 2}, "score"),
        ({"request_id": "x", "score": True}, "score"),
        ({"request_id": "x", "correct_output": 3}, "correct_output"),
        ({"request_id": "x", "score": 1, "user": "me"}, "user"),
    ],
)
async def test_bad_feedback_is_refused_by_field(body: dict[str, Any], param: str) -> None:
    response = await an_arm().client.post("/v1/feedback", json=body)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_too_many_requests_are_told_when_to_come_back() -> None:
    engine = ScriptedEngine()
    engine.hold = asyncio.Event()
    arm = an_arm(engine, maxConcurrency=1)
    first = asyncio.create_task(arm.chat("one"))
    await engine.is_asked.wait()
    second = await arm.chat("two")
    engine.hold.set()
    await first

    assert second.status_code == 429
    assert int(second.headers["retry-after"]) >= 1
    assert second.json()["error"]["code"] == "too_many_requests"


async def test_a_deadline_is_504() -> None:
    engine = ScriptedEngine()
    engine.hold = asyncio.Event()
    clock = SetClock()
    arm = an_arm(engine, timeoutSeconds=1, clock=clock)
    task = asyncio.create_task(arm.chat())
    await engine.is_asked.wait()
    clock.forward(5)
    response = await task

    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"


async def test_before_it_is_ready_requests_are_503_with_the_reason() -> None:
    arm = an_arm(is_ready=False)
    arm.service.enter("Failed", "every lora_B is zero", reason="Corrupt")
    response = await arm.chat()

    assert response.status_code == 503
    assert "every lora_B is zero" in response.json()["error"]["message"]
    assert response.headers["retry-after"] == "2"


async def test_an_unforeseen_error_tells_nothing_of_itself() -> None:
    def explode(_: str) -> str:
        raise ZeroDivisionError("secret of the machine room")

    arm = an_arm(ScriptedEngine(explode))
    response = await arm.chat()

    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["type"] == "server_error"
    assert arm.count("graft_predictor_requests_total", outcome="error") == 1


async def test_trace_context_comes_back() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = await an_arm().chat(headers={"traceparent": parent})

    assert response.headers["traceparent"].split("-")[1] == parent.split("-")[1]


async def test_the_tenant_header_separates_the_entries() -> None:
    arm = an_arm(**CACHED)
    caches = [(await arm.chat(headers={"x-tenant-id": t})).headers["x-graft-cache"] for t in ("a", "b", "a")]

    assert caches == ["miss", "miss", "memory"]


@pytest.mark.parametrize("tenant", ["", " ", "a b", "x" * 257, "ö".encode().decode("latin-1")])
async def test_a_tenant_header_of_another_form_is_refused(tenant: str) -> None:
    arm = an_arm(**CACHED)
    response = await arm.client.post(
        "/v1/chat/completions",
        json={"messages": [{"role": "user", "content": "x"}]},
        headers=[(b"x-tenant-id", tenant.encode("latin-1"))],
    )

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "x-tenant-id"


async def test_two_tenant_headers_are_refused() -> None:
    arm = an_arm(**CACHED)
    response = await arm.client.post(
        "/v1/chat/completions", json={"messages": []}, headers=[("x-tenant-id", "a"), ("x-tenant-id", "b")]
    )

    assert response.status_code == 400
    assert "2 times" in response.json()["error"]["message"]


async def test_no_store_goes_past_the_cache() -> None:
    arm = an_arm(**CACHED)
    responses = [await arm.chat(headers={"cache-control": "no-store"}) for _ in range(2)]

    assert {response.headers["x-graft-cache"] for response in responses} == {"bypass"}


async def test_addresses_and_methods_that_are_not_there_have_openais_shape() -> None:
    arm = an_arm()

    assert (await arm.client.get("/nope")).json()["error"]["code"] == "unknown_url"
    assert (await arm.client.get("/v1/chat/completions")).status_code == 405


async def test_input_fields_may_be_sent_beside_the_messages() -> None:
    from graft_core.api.v1alpha1.task import TaskSpec, TaskType

    arm = an_arm(task=TaskSpec(type=TaskType.CHAT, template="{{ q }} / {{ lang }}"))
    response = await arm.chat("hi", graft={"fields": {"lang": "vi"}})

    assert response.json()["choices"][0]["message"]["content"] == "echo hi / vi"


def test_engine_errors_are_a_kind_of_their_own() -> None:
    assert EngineFailed.reason == "EngineFailed"
