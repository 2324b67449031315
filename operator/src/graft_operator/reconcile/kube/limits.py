"""What a release must not ask of a cluster besides unsupported fields: it depends on the operator's settings, on two fields, or on what runs."""

from collections.abc import Collection, Iterator
from typing import Final

from graft_core.api.base import SecretRef
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.api.v1alpha1.serving import SERVER_ENGINES
from graft_operator.ports import Json
from graft_operator.reconcile.kube.parts import text
from graft_operator.reconcile.kube.view import MAX_NAME
from graft_operator.reconcile.support import Refusal

__all__ = ["RESERVED_ARGS", "find_limits"]

RESERVED_ARGS: Final = (
    *("--model", "--revision", "--tokenizer", "--served-model-name", "--code-revision", "--config", "--download-dir"),
    *("--host", "--port", "--api-key", "--uds", "--root-path", "--ssl", "--otlp", "--usage-stats", "--middleware"),
    *("--lora", "--enable-lora", "--max-lora", "--quantiz", "--trust-remote-code", "--trust_remote_code", "--allowed-"),
)
"""Beginnings of engine arguments that a release may not give."""


def find_limits(
    release: ModelRelease,
    *,
    prometheus_urls: Collection[str],
    is_knative: bool,
    adapter: SecretRef | None,
    service: Json | None,
) -> tuple[Refusal, ...]:
    """List what stands in the way of a release that is otherwise in order.

    Args:
        release: The release.
        prometheus_urls: Servers that the operator may ask.
        is_knative: Whether Knative runs it.
        adapter: Secret of the object store with the adapter.
        service: The one InferenceService of the release, where there is one.

    Returns:
        One entry a field.
    """
    return (
        *_name(release),
        *_prometheus(release, prometheus_urls),
        *_knative_secrets(release, adapter, is_knative=is_knative),
        *_scaling(release, service, is_knative=is_knative),
        *(
            _server(release, is_knative=is_knative)
            if release.spec.engine.type in SERVER_ENGINES
            else _in_process(release)
        ),
    )


def _in_process(release: ModelRelease) -> Iterator[Refusal]:
    """Refuse what only a server has."""
    engine = release.spec.engine
    for path, value in (
        ("image", engine.image),
        ("quantize", engine.quantize),
        ("resources.memory", engine.resources.memory),
    ):
        if value is not None:
            at = f"spec.engine.{path}"
            yield Refusal(
                at, f"{at} is not supported with engine.type transformers, which runs in the predictor's own container"
            )
    if engine.resources.gpus > 1:
        at = "spec.engine.resources.gpus"
        yield Refusal(
            at,
            f"{at} {engine.resources.gpus} is not supported with engine.type transformers; use 0 or 1, or tgi or vllm",
        )


def _server(release: ModelRelease, *, is_knative: bool) -> Iterator[Refusal]:
    """Hold an engine beside the predictor to an image by digest, and to arguments that open no door."""
    engine = release.spec.engine
    if is_knative:
        path = "spec.engine.type"
        message = f"{path} {engine.type.value!r} is not supported in Knative mode: its pods can't fetch the adapter ahead of the engine"
        yield Refusal(path, message)
    if engine.image is None or "@sha256:" not in engine.image:
        path = "spec.engine.image"
        yield Refusal(
            path,
            f"{path} {engine.image!r}: engine.type {engine.type.value} needs an image by digest (…@sha256:…)",
            "InvalidSpec",
        )
    for index, arg in enumerate(engine.args):
        if arg.startswith(RESERVED_ARGS):
            path = f"spec.engine.args[{index}]"
            message = f"{path} {arg.partition('=')[0]!r} is not allowed: Graft sets it itself, or it would run code or open the engine to others"
            yield Refusal(path, message, "PolicyDenied")


def _name(release: ModelRelease) -> Iterator[Refusal]:
    name, path = release.metadata.name, "metadata.name"
    if len(name) > MAX_NAME:
        message = f"{path} {name!r} has {len(name)} characters; KServe's names for its arms leave room for {MAX_NAME}"
        yield Refusal(path, message, "InvalidSpec")


def _prometheus(release: ModelRelease, allowed: Collection[str]) -> Iterator[Refusal]:
    source, path = release.spec.rollout.analysis.source, "spec.rollout.analysis.source.prometheus.url"
    if source is not None and source.prometheus is not None and source.prometheus.url not in allowed:
        told = ", ".join(sorted(allowed)) or "none"
        yield Refusal(
            path, f"{path} {source.prometheus.url!r} is not allowed; the operator asks {told}", "PolicyDenied"
        )


def _knative_secrets(release: ModelRelease, adapter: SecretRef | None, *, is_knative: bool) -> Iterator[Refusal]:
    log, path = release.spec.request_log, "spec.requestLog.secretRef"
    if (
        is_knative and log is not None and log.secret_ref is not None and adapter not in (None, log.secret_ref)
    ):  # a tuple: pydantic's hash is none to a type checker
        message = f"{path} {log.secret_ref.name!r} must be the adapter's own Secret in Knative mode: one container reads and writes"
        yield Refusal(path, message)


def _scaling(release: ModelRelease, service: Json | None, *, is_knative: bool) -> Iterator[Refusal]:
    """KServe reads the autoscaler's class from the service's annotations, and a change there restarts every pod."""
    if service is None or is_knative:
        return
    replicas, path = release.spec.predictor.replicas, "spec.predictor.replicas"
    wanted = "hpa" if replicas is not None and replicas.max > replicas.min else "none"
    has = text(service, "metadata", "annotations", "serving.kserve.io/autoscalerClass") or wanted
    if has != wanted:
        now = "a fixed number of pods" if has == "none" else "an autoscaler"
        message = f"{path}: this service runs with {now}, and can't be changed while it runs; delete the release and apply it again"
        yield Refusal(path, message)
