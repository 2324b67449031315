"""What a release must not ask of a cluster besides unsupported fields: it depends on the operator's settings, on two fields, or on what runs."""

from collections.abc import Collection, Iterator

from graft_core.api.base import SecretRef
from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_operator.ports import Json
from graft_operator.reconcile.kube.parts import text
from graft_operator.reconcile.kube.view import MAX_NAME
from graft_operator.reconcile.support import Refusal

__all__ = ["find_limits"]


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
    )


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
    if is_knative and log is not None and log.secret_ref is not None and adapter not in (None, log.secret_ref):  # a tuple: pydantic's hash is none to a type checker
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
