"""OpenAI's routes, below `/v1` and `/openai/v1`: chat/completions, completions, models; and `/v1/classify`, `/v1/feedback`."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from opentelemetry import trace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from graft_core.api.v1alpha1.task import TaskType
from graft_core.errors import InvalidInput
from graft_core.telemetry.tracing import extract_context, get_tracer, inject_context
from graft_predictor.engines.base import Chunk, collect
from graft_predictor.pipeline.exchange import Call, Exchange, Operation
from graft_predictor.pipeline.service import Service
from graft_predictor.rest.body import Limits, has_no_store, read_object, tenant_of
from graft_predictor.rest.errors import ModelNotFound, describe
from graft_predictor.rest.parameters import (
    GenerateCall,
    parse_chat,
    parse_classify,
    parse_completion,
    parse_feedback,
)
from graft_predictor.rest.shapes import ChatShape, CompletionShape, Shape, classification
from graft_predictor.rest.sse import DONE, EventStream, until_disconnect

__all__ = ["OpenAIRoutes"]

PREFIXES: Final = ("/v1", "/openai/v1")
_tracer = get_tracer(__name__)

Handler = Callable[[Request, Exchange], Awaitable[Response]]


class OpenAIRoutes:
    """The routes of one service."""

    def __init__(self, service: Service, limits: Limits) -> None:
        self._service = service
        self._limits = limits
        self._created = int(service.clock.now().timestamp())

    def routes(self) -> list[BaseRoute]:
        """Return plain Starlette routes: FastAPI's own cost more than a cached answer does."""
        found: list[BaseRoute] = []
        for prefix in PREFIXES:
            found += [
                Route(f"{prefix}/chat/completions", self._told("chat", self._chat), methods=["POST"]),
                Route(f"{prefix}/completions", self._told("completion", self._completion), methods=["POST"]),
                Route(f"{prefix}/classify", self._told("classify", self._classify), methods=["POST"]),
                Route(f"{prefix}/feedback", self._feedback, methods=["POST"]),
                Route(f"{prefix}/models", self._models, methods=["GET"]),
                Route(f"{prefix}/models/{{model}}", self._model, methods=["GET"]),
            ]
        return found

    def _told(self, operation: Operation, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Wrap a handler: span, errors in OpenAI's shape, and one entry in metrics and log whatever happens."""

        async def endpoint(request: Request) -> Response:
            exchange = self._service.begin(operation)
            with _tracer.start_as_current_span(
                f"graft.{operation}", context=extract_context(request.headers), kind=trace.SpanKind.SERVER
            ) as span:
                context = span.get_span_context()
                exchange.trace_id = f"{context.trace_id:032x}" if context.is_valid else None
                try:
                    response = await handler(request, exchange)
                except asyncio.CancelledError:
                    exchange.finish("client_error")
                    raise
                except Exception as err:  # noqa: BLE001  # the edge: every error becomes an answer
                    reply = describe(err)
                    span.set_attribute("error.type", reply.code)
                    response = reply.to_response()
                    exchange.finish(reply.outcome)
                for name, value in self._headers(exchange).items():
                    response.headers[name] = value
                return response

        return endpoint

    def _headers(self, exchange: Exchange) -> dict[str, str]:
        return inject_context(
            {
                "x-graft-request-id": exchange.request_id,
                "x-graft-revision": self._service.config.revision,
                "x-graft-cache": exchange.cache,
                "x-graft-guardrails": exchange.guardrails,
            }
        )

    async def _chat(self, request: Request, exchange: Exchange) -> Response:
        return await self._generate(request, exchange, parse_chat, ChatShape)

    async def _completion(self, request: Request, exchange: Exchange) -> Response:
        return await self._generate(request, exchange, parse_completion, CompletionShape)

    async def _generate(
        self, request: Request, exchange: Exchange, parse: Callable[..., GenerateCall], shape_of: type[Shape]
    ) -> Response:
        body = await self._read(request, exchange)
        pipeline = self._service.pipeline
        asked = parse(
            body,
            model=self._service.name,
            context=pipeline.engine.context_length,
            may_cache=not has_no_store(request),
        )
        exchange.is_stream = asked.call.is_stream
        created = int(self._service.clock.now().timestamp())
        shape = shape_of(exchange, model=self._service.name, created=created)
        chunks = pipeline.run(asked.call, exchange)
        if not asked.call.is_stream:
            text, last = await until_disconnect(request, collect(chunks))
            exchange.finish("ok")
            return Response(shape.whole(text, last), media_type="application/json")
        # The status line waits for the first chunk, so that whatever goes wrong before it is a proper error.
        first = await until_disconnect(request, _first(chunks))
        return EventStream(_events(first, chunks, exchange, shape, with_usage=asked.has_usage_chunk), {})

    async def _classify(self, request: Request, exchange: Exchange) -> Response:
        body = await self._read(request, exchange)
        pipeline = self._service.pipeline
        if pipeline.task.type is not TaskType.CLASSIFICATION:
            raise InvalidInput(
                f"classify: this service's task is {pipeline.task.type.value!r}; use /v1/chat/completions",
                path="classify",
            )
        calls, is_list = parse_classify(body, model=self._service.name, may_cache=not has_no_store(request))
        results = await until_disconnect(request, self._classify_all(calls, exchange))
        exchange.finish("ok")
        answer: Mapping[str, Any] = {
            "id": exchange.request_id,
            "object": "classification",
            "model": self._service.name,
        }
        found = {"results": results} if is_list else results[0]
        return Response(orjson.dumps({**answer, **found}), media_type="application/json")

    async def _classify_all(self, calls: list[Call], exchange: Exchange) -> list[dict[str, Any]]:
        """Classify together; the engine makes batches of what waits. The exchange tells of the first text."""
        pipeline = self._service.pipeline
        rest = [self._service.part_of(exchange) for _ in calls[1:]]
        parts = [exchange, *rest]
        answers = await asyncio.gather(
            *(collect(pipeline.run(call, part)) for call, part in zip(calls, parts, strict=True))
        )
        if any(part.cache == "miss" for part in rest):
            exchange.cache = "miss"
        return [classification(text, last) for text, last in answers]

    async def _feedback(self, request: Request) -> Response:
        try:
            feedback = parse_feedback(await read_object(request, self._limits))
            is_counted = self._service.take_feedback(feedback.request_id, feedback.score, feedback.correct_output)
        except Exception as err:  # noqa: BLE001  # the edge
            return describe(err).to_response()
        body = {"object": "feedback", "request_id": feedback.request_id, "counted": is_counted}
        return Response(orjson.dumps(body), media_type="application/json")

    async def _models(self, _request: Request) -> Response:
        """List the one model; `models` is what KServe's V1 clients read."""
        body = {"object": "list", "data": [self._model_object()], "models": [self._service.name]}
        return Response(orjson.dumps(body), media_type="application/json")

    async def _model(self, request: Request) -> Response:
        """Show the model; KServe's V1 readiness is the status code and `ready`."""
        name = request.path_params["model"]
        if name != self._service.name:
            return describe(ModelNotFound(f"model: {name[:120]!r} is not served here")).to_response()
        body = {**self._model_object(), "name": name, "ready": self._service.readiness.is_ready}
        status = 200 if self._service.readiness.is_ready else 503
        return Response(orjson.dumps(body), status, media_type="application/json")

    def _model_object(self) -> dict[str, Any]:
        config = self._service.config
        return {
            "id": self._service.name,
            "object": "model",
            "created": self._created,
            "owned_by": config.release.namespace,
            "graft": {"revision": config.revision, "adapter": config.adapter.digest},
        }

    async def _read(self, request: Request, exchange: Exchange) -> dict[str, Any]:
        body = await read_object(request, self._limits)
        exchange.tenant = tenant_of(request, self._service.config.cache.tenant_header)
        return body


async def _first(chunks: AsyncGenerator[Chunk]) -> Chunk:
    return await anext(chunks)


async def _events(
    first: Chunk, chunks: AsyncGenerator[Chunk], exchange: Exchange, shape: Shape, *, with_usage: bool
) -> AsyncGenerator[bytes]:
    """Write the answer as events. After an error there is no [DONE]: a client must not take half an answer for a whole one."""
    try:
        if (opening := shape.opening()) is not None:
            yield opening
        last = first
        if first.text:
            yield shape.piece(first, with_usage=with_usage)
        async for chunk in chunks:
            last = chunk
            if chunk.text:
                yield shape.piece(chunk, with_usage=with_usage)
        yield shape.closing(last, with_usage=with_usage)
        if with_usage:
            yield shape.usage(last)
        exchange.finish("ok")
        yield DONE
    except Exception as err:  # noqa: BLE001  # the status is sent; the error becomes an event
        reply = describe(err)
        exchange.finish(reply.outcome)
        yield b"data: " + reply.to_bytes() + b"\n\n"
    finally:
        await chunks.aclose()
        exchange.finish("client_error")  # counts only where nothing else did: the client left
