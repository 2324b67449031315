"""The service as KServe sees it: lifecycle, health, V1 and V2. Prediction takes the same pipeline as OpenAI's routes.

V1: `{"instances": [text | {field: value}, …]}` → `{"predictions": [text | {label, confidence, scores}, …]}`.
V2: one BYTES input of texts → BYTES output `label` with FP32 `confidence` for classification, else BYTES output `text`.
"""

import asyncio
from typing import Any, cast

from kserve import InferOutput, InferRequest, InferResponse, Model

from graft_core.api.v1alpha1.task import TaskType
from graft_core.errors import InvalidInput
from graft_core.tasks.messages import Message, parse_messages
from graft_predictor.engines.base import Chunk, collect
from graft_predictor.pipeline.exchange import Call, Exchange
from graft_predictor.pipeline.service import Service
from graft_predictor.rest.errors import describe
from graft_predictor.rest.shapes import classification

__all__ = ["GraftModel"]

MAX_INSTANCES = 256


class GraftModel(Model):
    """A kserve.Model around the service."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.name)
        self._service = service
        # KServe registers only models that call themselves ready; healthy() tells the truth.
        self.ready = True

    async def healthy(self) -> bool:
        """Say whether requests are answered."""
        return self._service.readiness.is_ready

    def load(self) -> bool:
        """Do nothing: loading belongs to the app, and KServe may call this again whenever it sees an unhealthy model."""
        return self.ready

    async def predict(
        self,
        payload: Any,  # noqa: ANN401  # a V1 body, or kserve's own types
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | InferResponse:
        """Answer a V1 or V2 request."""
        exchange = self._service.begin("predict")
        header = self._service.config.cache.tenant_header
        exchange.tenant = (headers or {}).get(header) if header else None
        try:
            if isinstance(payload, InferRequest):
                answers = await self._answer([_text_call(text) for text in _v2_texts(payload)], exchange)
                exchange.finish("ok")
                return self._v2_response(payload, answers, exchange.request_id)
            answers = await self._answer(
                [_instance_call(item, i) for i, item in enumerate(_v1_items(payload))], exchange
            )
        except Exception as err:
            exchange.finish(describe(err).outcome)
            raise
        exchange.finish("ok")
        return {"predictions": [self._v1_prediction(text, last) for text, last in answers]}

    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe the input for V2 metadata."""
        return [{"name": "input", "datatype": "BYTES", "shape": [-1]}]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe the outputs for V2 metadata."""
        if not self._is_classifier():
            return [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
        return [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "confidence", "datatype": "FP32", "shape": [-1]},
        ]

    def _is_classifier(self) -> bool:
        return self._service.readiness.is_ready and self._service.pipeline.task.type is TaskType.CLASSIFICATION

    async def _answer(self, calls: list[Call], exchange: Exchange) -> list[tuple[str, Chunk]]:
        pipeline = self._service.pipeline
        parts = [exchange, *(self._service.part_of(exchange) for _ in calls[1:])]
        return list(
            await asyncio.gather(*(collect(pipeline.run(call, part)) for call, part in zip(calls, parts, strict=True)))
        )

    def _v1_prediction(self, text: str, last: Chunk) -> object:
        return classification(text, last) if self._is_classifier() else text

    def _v2_response(self, request: InferRequest, answers: list[tuple[str, Chunk]], request_id: str) -> InferResponse:
        texts = [text for text, _ in answers]
        shape = [len(answers)]
        if self._is_classifier():
            confidence = [max((last.scores or {"": 0.0}).values()) for _, last in answers]
            outputs = [
                InferOutput("label", shape, "BYTES", texts),
                InferOutput("confidence", shape, "FP32", confidence),
            ]
        else:
            outputs = [InferOutput("text", shape, "BYTES", texts)]
        return InferResponse(response_id=request.id or request_id, model_name=self.name, infer_outputs=outputs)


def _v1_items(payload: object) -> list[object]:
    # KServe hands over bytes where the content type is not JSON.
    items: object = cast("dict[str, object]", payload).get("instances") if isinstance(payload, dict) else None
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_INSTANCES:
        raise InvalidInput(f"instances: expected a list of 1 to {MAX_INSTANCES} texts or objects", path="instances")
    return cast("list[object]", items)


def _instance_call(item: object, index: int) -> Call:
    if isinstance(item, str):
        return Call(parse_messages([{"role": "user", "content": item}], path=f"instances[{index}]"))
    if isinstance(item, dict):
        return Call((Message("user", ""),), fields=cast("dict[str, object]", item))
    raise InvalidInput(
        f"instances[{index}]: expected a text, or an object with the task's input fields", path="instances"
    )


def _v2_texts(request: InferRequest) -> list[str]:
    inputs: list[Any] = request.inputs
    if len(inputs) != 1 or inputs[0].datatype != "BYTES":
        raise InvalidInput("inputs: expected one input of datatype BYTES", path="inputs")
    data: list[Any] = list(inputs[0].as_numpy().reshape(-1))
    if not 1 <= len(data) <= MAX_INSTANCES:
        raise InvalidInput(f"inputs[0].data: {len(data)} texts, expected 1 to {MAX_INSTANCES}", path="inputs[0].data")
    try:
        return [item.decode() if isinstance(item, bytes) else str(item) for item in data]
    except UnicodeDecodeError as err:
        raise InvalidInput("inputs[0].data: a text is not valid UTF-8", path="inputs[0].data") from err


def _text_call(text: str) -> Call:
    return Call(parse_messages([{"role": "user", "content": text}], path="inputs[0].data"))
