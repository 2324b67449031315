"""Answers through a server, whole and broken, for both kinds alike."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from graft_core.errors import GraftError
from graft_predictor.engines.base import (
    AnswerTruncated,
    Chunk,
    ContextLengthExceeded,
    EngineBusy,
    EngineFailed,
    EngineTimeout,
    Usage,
    collect,
)
from graft_predictor.engines.remote.engine import RemoteEngine
from tests.predictor.doubles.servers import ADAPTER, END, Fault, ServerDouble
from tests.predictor.doubles.tgi import overloaded_event
from tests.predictor.doubles.vllm import error_body
from tests.predictor.engines.remote.arms import ask, loaded, until

pytestmark = pytest.mark.loopback

Pair = tuple[ServerDouble, RemoteEngine]


@pytest.fixture(params=["tgi", "vllm"])
def both(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with loaded(request.param) as pair:
        yield pair


@pytest.fixture
async def pair(both: Pair) -> AsyncIterator[Pair]:
    yield both
    await asyncio.to_thread(both[1].stop)


async def test_an_answer_comes_in_pieces_with_end_and_usage(pair: Pair) -> None:
    _, engine = pair
    chunks = [chunk async for chunk in engine.generate(ask("hi"))]

    assert "".join(chunk.text for chunk in chunks) == "echo hi"
    assert len(chunks) > 2
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage == Usage(engine.count_tokens(ask("hi").messages), len("echo hi") + 1)
    assert all(chunk.finish_reason is None for chunk in chunks[:-1])


async def test_the_server_reads_the_very_tokens_of_the_adapters_template(pair: Pair) -> None:
    double, engine = pair
    await collect(engine.generate(ask("xin chào")))

    expected = double.tokenizer("<|user|>xin chào<|end|><|assistant|>", add_special_tokens=False)["input_ids"]
    assert double.prompts[-1] == expected


async def test_only_the_adapter_of_the_configuration_is_asked_for(pair: Pair) -> None:
    double, engine = pair
    await collect(engine.generate(ask()))

    asked = double.asked[-1]
    assert asked.get("model", asked.get("parameters", {}).get("adapter_id")) == ADAPTER


async def test_characters_that_are_split_over_tokens_come_whole(pair: Pair) -> None:
    _, engine = pair
    chunks = [chunk async for chunk in engine.generate(ask("ắ🙂 é"))]

    assert "".join(chunk.text for chunk in chunks) == "echo ắ🙂 é"
    assert not any("\ufffd" in chunk.text for chunk in chunks)


async def test_row_64_comments_line_ends_single_bytes_and_a_second_done_do_no_harm(pair: Pair) -> None:
    double, engine = pair
    double.is_messy = True
    text, last = await collect(engine.generate(ask("ắ")))

    assert (text, last.finish_reason) == ("echo ắ", "stop")


async def test_max_tokens_ends_by_length(pair: Pair) -> None:
    _, engine = pair
    text, last = await collect(engine.generate(ask("hello", max_tokens=4)))

    assert (text, last.finish_reason) == ("echo", "length")
    assert last.usage is not None
    assert last.usage.completion_tokens == 4


@pytest.mark.parametrize("stop", ["o h", "hi", "e", "never"])
async def test_a_stop_text_is_cut_off_whatever_the_server_does_with_it(pair: Pair, stop: str) -> None:
    _, engine = pair
    text, last = await collect(engine.generate(ask("hi", stop=(stop,))))

    assert text == "echo hi".partition(stop)[0]
    assert last.finish_reason == "stop"


async def test_what_comes_after_the_end_token_is_not_read_and_not_waited_for(pair: Pair) -> None:
    double, engine = pair
    double.answer = lambda _: [*b"yes", END, *b"and so on" * 20]
    double.pause_s = 0.02
    text, last = await collect(engine.generate(ask(max_tokens=100)))

    assert (text, last.finish_reason) == ("yes", "stop")
    await until(lambda: double.abandoned == 1)


async def test_a_reader_that_leaves_ends_the_servers_work(pair: Pair) -> None:
    double, engine = pair
    double.pause_s = 0.02
    chunks = engine.generate(ask("a long story " * 5))
    await anext(chunks)
    await chunks.aclose()

    await until(lambda: double.abandoned == 1)


@pytest.mark.parametrize("status", [424, 500, 502])
async def test_row_62_a_failure_before_the_first_token_is_tried_again(pair: Pair, status: int) -> None:
    double, engine = pair
    double.faults.append(Fault("status", status=status))
    text, _ = await collect(engine.generate(ask()))

    assert text == "echo hi"
    assert len(double.asked) == 2


async def test_row_62_a_server_that_fails_always_is_asked_three_times(pair: Pair) -> None:
    double, engine = pair
    double.faults.extend([Fault("status", status=500)] * 5)

    with pytest.raises(EngineFailed, match="HTTP 500") as caught:
        await collect(engine.generate(ask()))
    assert type(caught.value) is EngineFailed
    assert len(double.asked) == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_row_62_a_full_server_is_tried_again_and_then_told_as_busy(pair: Pair, status: int) -> None:
    double, engine = pair
    double.faults.append(Fault("status", status=status))
    assert (await collect(engine.generate(ask())))[0] == "echo hi"

    double.faults.extend([Fault("status", status=status)] * 3)
    with pytest.raises(EngineBusy) as caught:
        await collect(engine.generate(ask()))
    assert caught.value.retry_after_s == 1.0


async def test_row_62_retry_after_is_passed_on_where_it_is_too_long_to_wait(pair: Pair) -> None:
    double, engine = pair
    double.faults.append(Fault("status", status=429, headers={"retry-after": "30"}))

    with pytest.raises(EngineBusy) as caught:
        await collect(engine.generate(ask()))
    assert caught.value.retry_after_s == 30
    assert len(double.asked) == 1


async def test_row_62_a_short_retry_after_is_kept_to(pair: Pair) -> None:
    double, engine = pair
    double.faults.append(Fault("status", status=503, headers={"retry-after": "1"}))
    began = time.monotonic()
    await collect(engine.generate(ask()))

    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_refusal_is_not_tried_again_and_its_words_stay_here(pair: Pair, status: int) -> None:
    double, engine = pair
    double.faults.append(Fault("status", status=status, body={"error": "prompt 'my secret' is bad"}))

    with pytest.raises(EngineFailed, match=rf"refused the request \(HTTP {status}\)") as caught:
        await collect(engine.generate(ask()))
    assert "secret" not in str(caught.value)
    assert len(double.asked) == 1


def in_stream(double: ServerDouble, kind: str) -> dict[str, Any]:
    """An error event of the double's kind."""
    is_tgi = double.__class__.__name__ == "TgiDouble"
    if kind == "busy":
        return overloaded_event() if is_tgi else error_body(503)
    return {"error": "Request failed during generation", "error_type": "generation"} if is_tgi else error_body(500)


async def test_an_overload_inside_a_200_stream_is_tried_again_before_the_first_token(pair: Pair) -> None:
    double, engine = pair
    double.faults.append(Fault("event", body=in_stream(double, "busy")))
    assert (await collect(engine.generate(ask())))[0] == "echo hi"

    double.faults.extend([Fault("event", body=in_stream(double, "busy"))] * 3)
    with pytest.raises(EngineBusy):
        await collect(engine.generate(ask()))


@pytest.mark.parametrize("kind", ["busy", "failed"])
async def test_an_error_event_after_tokens_breaks_the_answer_off(pair: Pair, kind: str) -> None:
    double, engine = pair
    double.faults.append(Fault("event", after=2, body=in_stream(double, kind)))
    got: list[Chunk] = []

    with pytest.raises(AnswerTruncated, match="broke off after") as caught:
        got.extend([chunk async for chunk in engine.generate(ask())])
    assert caught.value.usage is not None
    assert caught.value.usage.completion_tokens in {2, 4}
    assert len(double.asked) == 1


@pytest.mark.parametrize("kind", ["cut", "end", "garbage"])
async def test_row_64_a_stream_that_breaks_off_is_never_an_answer(pair: Pair, kind: Any) -> None:
    double, engine = pair
    double.faults.append(Fault(kind, after=2))

    with pytest.raises(AnswerTruncated) as caught:
        await collect(engine.generate(ask()))
    assert caught.value.usage is not None
    assert caught.value.usage.completion_tokens in {2, 4}
    assert len(double.asked) == 1


@pytest.mark.parametrize("kind", ["cut", "end", "garbage"])
async def test_a_stream_that_breaks_off_before_the_first_token_is_tried_again(pair: Pair, kind: Any) -> None:
    double, engine = pair
    double.faults.append(Fault(kind))

    assert (await collect(engine.generate(ask())))[0] == "echo hi"


async def test_a_page_instead_of_a_stream_is_a_failure(pair: Pair) -> None:
    double, engine = pair
    double.faults.append(Fault("html"))

    with pytest.raises(EngineFailed, match="something else than a stream"):
        await collect(engine.generate(ask()))


@pytest.mark.parametrize(("fault", "told"), [(Fault("silence"), "begin"), (Fault("hang"), "begin")])
async def test_row_63_a_server_that_never_begins_is_given_up(pair: Pair, fault: Fault, told: str) -> None:
    double, engine = pair
    double.faults.append(fault)
    began = time.monotonic()

    with pytest.raises(EngineTimeout, match=told):
        await collect(engine.generate(ask()))
    assert 0.3 < time.monotonic() - began < 3
    await until(lambda: double.abandoned == 1)


async def test_row_63_a_server_that_stops_between_tokens_is_given_up_whatever_comments_it_sends(pair: Pair) -> None:
    double, engine = pair
    double.faults.append(Fault("hang", after=2))

    with pytest.raises(EngineTimeout, match="sent no token for") as caught:
        await collect(engine.generate(ask()))
    assert caught.value.usage is not None
    assert caught.value.usage.completion_tokens in {2, 4}
    await until(lambda: double.abandoned == 1)


async def test_a_server_that_is_gone_is_unreachable(pair: Pair) -> None:
    double, engine = pair
    double.__exit__()

    with pytest.raises(EngineFailed, match="cannot be reached"):
        await collect(engine.generate(ask()))


async def test_prompts_that_do_not_fit_are_refused_here(pair: Pair) -> None:
    double, engine = pair

    with pytest.raises(ContextLengthExceeded, match="tokens"):
        await collect(engine.generate(ask("x" * 300)))
    with pytest.raises(ContextLengthExceeded, match="leave"):
        await collect(engine.generate(ask("x", max_tokens=255)))
    assert double.asked == []


async def test_connections_are_used_again_and_bounded(pair: Pair) -> None:
    double, engine = pair
    await asyncio.gather(*(collect(engine.generate(ask(f"{i}"))) for i in range(20)))

    assert engine._upstream is not None
    connector: Any = engine._upstream._session.connector
    assert sum(len(found) for found in connector._conns.values()) <= 8
    assert len(double.asked) == 20


async def test_a_long_prompt_is_tokenized_beside_the_loop(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = pair
    monkeypatch.setattr("graft_predictor.engines.remote.engine.INLINE_CHARS", 3)

    assert (await collect(engine.generate(ask("hello"))))[0] == "echo hello"


async def test_a_stopped_engine_fails_at_once(pair: Pair) -> None:
    _, engine = pair
    await collect(engine.generate(ask()))
    engine.stop()

    assert not engine.is_healthy()
    with pytest.raises(GraftError, match="stopped"):
        await collect(engine.generate(ask()))


async def test_sampling_is_sent_whole_so_that_no_default_of_the_server_counts(pair: Pair) -> None:
    double, engine = pair
    await collect(engine.generate(ask(temperature=0.7, top_p=0.9, seed=-3)))
    sampled = double.asked[-1]
    await collect(engine.generate(ask(seed=3)))
    greedy = double.asked[-1]

    if "parameters" in sampled:
        drawn, plain = sampled["parameters"], greedy["parameters"]
        assert (drawn["do_sample"], drawn["temperature"], drawn["top_p"]) == (True, 0.7, 0.9)
        assert drawn["seed"] == 2**64 - 3
        assert plain["do_sample"] is False
        assert not {"temperature", "top_p", "seed"} & plain.keys()
        assert plain["stop"][0] in {"<|end|>", "<eos>"}
    else:
        assert (sampled["temperature"], sampled["top_p"], sampled["seed"]) == (0.7, 0.9, -3)
        assert (greedy["temperature"], greedy["top_p"], greedy["top_k"], greedy["repetition_penalty"]) == (0, 1, 0, 1)
        assert "seed" not in greedy
        assert END in greedy["stop_token_ids"]
