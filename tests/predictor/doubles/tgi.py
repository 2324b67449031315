"""A double of text-generation-inference 3.3: routes, events and errors as router/src/server.rs has them."""

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from tests.predictor.doubles.servers import ADAPTER, BASE, ServerDouble

__all__ = ["TgiDouble", "overloaded_event"]


def overloaded_event() -> dict[str, Any]:
    return {"error": "Model is overloaded", "error_type": "overloaded"}


class TgiDouble(ServerDouble):
    """It adds the BOS to every text, and takes an adapter that it does not know for the base model: both as the real one does."""

    def __init__(self, tokenizer: Any = None) -> None:
        super().__init__(tokenizer)
        self.adapters = {ADAPTER}
        self.adds_bos = False
        self.info: dict[str, Any] = {
            "model_id": BASE,
            "model_sha": None,
            "max_total_tokens": 256,
            "max_input_tokens": 200,
            "version": "3.3.7",
        }

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self.health),
            web.get("/info", self.tell_info),
            web.post("/tokenize", self.tokenize),
            web.post("/generate", self.generate),
            web.post("/generate_stream", self.stream),
        ]

    async def tell_info(self, _: web.Request) -> web.Response:
        return web.json_response(self.info)

    async def tokenize(self, request: web.Request) -> web.Response:
        ids = self.prompt_of(await request.json())
        return web.json_response([{"id": i, "text": "", "start": 0, "stop": 0} for i in ids])

    async def generate(self, request: web.Request) -> web.Response:
        body = await request.json()
        is_tuned = body["parameters"].get("adapter_id") in self.adapters
        ids = self.answer(self.prompt_of(body))[: body["parameters"]["max_new_tokens"]]
        tokens = [{"id": i, "logprob": -0.2 if is_tuned else -0.5, "special": False} for i in ids]
        return web.json_response({"generated_text": "", "details": {"tokens": tokens, "finish_reason": "length"}})

    def prompt_of(self, body: dict[str, Any]) -> list[int]:
        ids: list[int] = self.tokenizer(body["inputs"], add_special_tokens=self.adds_bos)["input_ids"]
        return ids

    def limit_of(self, body: dict[str, Any]) -> int:
        limit: int = body["parameters"]["max_new_tokens"]
        return limit

    def events_of(self, body: dict[str, Any], prompt: list[int], answer: Sequence[int]) -> list[bytes]:
        is_whole = list(answer) == list(self.answer(prompt))
        events: list[bytes] = []
        for i, token in enumerate(answer):
            is_last = i + 1 == len(answer)
            details = {
                "finish_reason": "eos_token" if is_whole else "length",
                "generated_tokens": len(answer),
                "seed": None,
                "input_length": len(prompt),
            }
            event = {
                "index": i + 1,
                "token": {
                    "id": token,
                    "text": "not what is read",
                    "logprob": -0.2,
                    "special": token in self.tokenizer.all_special_ids,
                },
                "generated_text": "not what is read" if is_last else None,
                "details": details if is_last else None,
            }
            events.append(b"data:" + json.dumps(event).encode() + b"\n\n")
        return events
