"""A double of vLLM's OpenAI server: routes, events and errors as vllm/entrypoints/openai has them."""

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from tests.predictor.doubles.servers import ADAPTER, BASE, DONE, ServerDouble

__all__ = ["VllmDouble", "error_body"]


def error_body(code: int, message: str = "no") -> dict[str, Any]:
    return {"error": {"message": message, "type": "Error", "param": None, "code": code}}


class VllmDouble(ServerDouble):
    """Two tokens come in one event, as they do when the real one is asked by many."""

    def __init__(self, tokenizer: Any = None) -> None:
        super().__init__(tokenizer)
        self.cards: list[dict[str, Any]] = [
            {"id": BASE, "object": "model", "root": "/models/base", "parent": None, "max_model_len": 256},
            {"id": ADAPTER, "object": "model", "root": "/adapters/one", "parent": BASE},
        ]
        self.tells_token_ids = True

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self.health),
            web.get("/v1/models", self.models),
            web.post("/v1/completions", self.complete),
        ]

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": self.cards})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["model"] not in {card["id"] for card in self.cards}:
            return web.json_response(error_body(404, "The model does not exist."), status=404)
        return await self.stream(request)

    def prompt_of(self, body: dict[str, Any]) -> list[int]:
        prompt = body["prompt"]
        assert all(isinstance(token, int) for token in prompt)
        return list(prompt)

    def limit_of(self, body: dict[str, Any]) -> int:
        limit: int = body["max_tokens"]
        return limit

    def events_of(self, body: dict[str, Any], prompt: list[int], answer: Sequence[int]) -> list[bytes]:
        is_whole = list(answer) == list(self.answer(prompt))
        events: list[bytes] = []
        for i in range(0, len(answer), 2):
            is_last = i + 2 >= len(answer)
            choice: dict[str, Any] = {
                "index": 0,
                "text": "not what is read",
                "logprobs": None,
                "finish_reason": ("stop" if is_whole else "length") if is_last else None,
            }
            if self.tells_token_ids:
                choice["token_ids"] = list(answer[i : i + 2])
            event = {"id": "cmpl-1", "object": "text_completion", "model": body["model"], "choices": [choice]}
            events.append(b"data: " + json.dumps(event).encode() + b"\n\n")
        return [*events, DONE]
