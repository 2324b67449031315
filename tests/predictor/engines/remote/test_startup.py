"""Before a server is used it proves what it serves; whoever cannot is never ready, and says why."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from graft_core.contracts.adapter_manifest import BaseModelPin
from graft_core.errors import Corrupt, InvalidInput, Unavailable
from graft_predictor.engines.base import collect
from tests.predictor.doubles.servers import ADAPTER, BASE, ServerDouble
from tests.predictor.doubles.tgi import TgiDouble
from tests.predictor.doubles.tokens import ByteTokenizerDouble
from tests.predictor.doubles.vllm import VllmDouble
from tests.predictor.engines.remote.arms import a_plan, an_engine, ask, until

pytestmark = pytest.mark.loopback

HUB = "a09a35458c702b33eeacc393d103063234e8bc28"


def tgi(**info: Any) -> TgiDouble:
    double = TgiDouble()
    double.info.update(info)
    return double


def vllm(*cards: dict[str, Any]) -> VllmDouble:
    double = VllmDouble()
    double.cards = list(cards)
    return double


def a_card(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "max_model_len": 256, **more}


@pytest.mark.parametrize("make", [TgiDouble, VllmDouble])
def test_the_right_server_is_taken_and_tells_its_limits(make: Callable[[], ServerDouble]) -> None:
    with make() as double:
        engine = an_engine(double)
        assert not engine.is_healthy()
        engine.load()

        assert engine.is_healthy()
        assert engine.context_length == 256
        assert engine.chat_template == "the chat template"
        assert engine.traits.name == ("tgi" if make is TgiDouble else "vllm")


@pytest.mark.parametrize("make", [TgiDouble, VllmDouble])
def test_a_server_that_still_loads_is_unavailable_and_then_taken(make: Callable[[], ServerDouble]) -> None:
    with make() as double:
        double.is_healthy = False
        engine = an_engine(double)
        with pytest.raises(Unavailable, match="/health says HTTP 503"):
            engine.load()
        double.is_healthy = True
        engine.load()

        assert engine.is_healthy()


def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        double = TgiDouble()
        double.port = taken.getsockname()[1]

        with pytest.raises(Unavailable, match="does not answer /health yet"):
            an_engine(double).load()


@pytest.mark.parametrize(
    ("double", "told"),
    [
        (tgi(model_id="another/model"), "serves 'another/model', expected 'base-bbbbbbbbbbbb'"),
        (tgi(model_sha="c" * 40), "serves revision 'cccc"),
        (tgi(max_total_tokens=None), "no max_total_tokens"),
        (vllm(a_card("another"), a_card(ADAPTER, parent="another")), r"serves \['another', 'shop-aaaaaaaaaaaa'\]"),
        (vllm(a_card(BASE)), "but not the adapter 'shop-aaaaaaaaaaaa'; see --lora-modules"),
        (vllm(a_card(BASE), a_card(ADAPTER, parent="another")), "on the base 'another'"),
        (vllm({"id": BASE}, a_card(ADAPTER, parent=BASE)), "no max_model_len"),
        (vllm({"name": "x"}), "lists no models"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_of_something_else_is_never_ready(double: ServerDouble, told: str) -> None:
    with double:
        engine = an_engine(double)
        with pytest.raises(Corrupt, match=told):
            engine.load()

        assert not engine.is_healthy()


@pytest.mark.parametrize(("ours", "other"), [(TgiDouble, VllmDouble), (VllmDouble, TgiDouble)])
def test_the_other_kind_of_server_is_told_apart(ours: type[ServerDouble], other: type[ServerDouble]) -> None:
    with other() as double:
        wrong = ours()
        wrong.port = double.port

        with pytest.raises(Corrupt, match="HTTP 404"):
            an_engine(wrong).load()


def test_tgis_own_word_on_the_commit_counts_for_models_of_the_hub() -> None:
    with tgi(model_id="Qwen/Qwen2.5-7B-Instruct", model_sha=HUB) as double:
        plan = a_plan(double, model="Qwen/Qwen2.5-7B-Instruct")
        an_engine(double, replace(plan, base=BaseModelPin(id="Qwen/Qwen2.5-7B-Instruct", revision=HUB))).load()


@pytest.mark.parametrize(
    "double", [tgi(model_id="base"), vllm(a_card("base"), a_card(ADAPTER, parent="base"))], ids=["tgi", "vllm"]
)
def test_a_name_that_does_not_tell_the_revision_is_no_proof(double: ServerDouble) -> None:
    with double, pytest.raises(Corrupt, match="'bbbbbbbbbbbb'"):
        an_engine(double, a_plan(double, model="base")).load()


def test_tgi_that_does_not_know_the_adapter_is_caught_by_its_answers() -> None:
    """It answers such requests with the base model, and status 200."""
    with TgiDouble() as double:
        double.adapters = {"another"}

        with pytest.raises(Corrupt, match="answers alike with adapter 'shop-aaaaaaaaaaaa' and without"):
            an_engine(double).load()


@pytest.mark.parametrize(("template_has_bos", "adds_bos"), [(False, False), (True, True), (True, False)])
async def test_the_bos_is_there_once_whoever_writes_it(*, template_has_bos: bool, adds_bos: bool) -> None:
    tokenizer = ByteTokenizerDouble(template_has_bos=template_has_bos)
    with TgiDouble(tokenizer) as double:
        double.adds_bos = adds_bos
        engine = an_engine(double)
        await asyncio.to_thread(engine.load)
        await collect(engine.generate(ask("hi")))
        await asyncio.to_thread(engine.stop)

    assert double.prompts[-1].count(256) == (1 if template_has_bos else 0)


def test_tgi_that_adds_a_bos_which_training_did_not_have_is_refused() -> None:
    with TgiDouble() as double:
        double.adds_bos = True

        with pytest.raises(Corrupt, match="other tokens of a prompt than training did"):
            an_engine(double).load()


async def test_an_old_vllm_without_token_ids_is_told_by_its_version() -> None:
    with VllmDouble() as double:
        double.tells_token_ids = False
        engine = an_engine(double)
        await asyncio.to_thread(engine.load)

        with pytest.raises(Exception, match=r"version 0\.10\.2 or later"):
            await collect(engine.generate(ask()))
        await asyncio.to_thread(engine.stop)


def test_a_classifier_is_refused() -> None:
    with pytest.raises(InvalidInput, match="use 'transformers'") as caught:
        an_engine(TgiDouble(), a_plan(_at_port(), model_class="sequence-classification"))
    assert caught.value.path == "engine.type"


def _at_port() -> TgiDouble:
    double = TgiDouble()
    double.port = 1
    return double


@pytest.mark.parametrize("kind", ["tgi", "vllm"])
async def test_a_server_that_dies_takes_readiness_along_until_it_is_back(kind: str) -> None:
    with TgiDouble() if kind == "tgi" else VllmDouble() as double:
        engine = an_engine(double, watch_every_s=0.02)
        await asyncio.to_thread(engine.load)
        await collect(engine.generate(ask()))
        double.is_healthy = False
        await until(lambda: not engine.is_healthy())
        double.is_healthy = True
        await until(engine.is_healthy)
        await asyncio.to_thread(engine.stop)


async def test_a_server_that_comes_back_as_another_stays_out() -> None:
    with TgiDouble() as double:
        engine = an_engine(double, watch_every_s=0.02)
        await asyncio.to_thread(engine.load)
        await collect(engine.generate(ask()))
        double.info["model_id"] = "another"
        await until(lambda: not engine.is_healthy())
        await asyncio.sleep(0.1)

        assert not engine.is_healthy()
        await asyncio.to_thread(engine.stop)
