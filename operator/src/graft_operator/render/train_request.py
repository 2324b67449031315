"""FineTuneJob → TrainRequest: what a check or train child is given."""

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.contracts.base import ObjectRef
from graft_core.contracts.train_request import ComputeRequest, Pinned, TrainRequest
from graft_operator.render.limits import child_limits

__all__ = ["output_prefix", "render_train_request"]


def render_train_request(
    job: FineTuneJob, *, pinned: Pinned | None, default_output_uri: str, traceparent: str | None = None
) -> TrainRequest:
    """Render the request of one child.

    Args:
        job: An accepted job; a field that is not supported would be lost here.
        pinned: What the check saw; None for the check itself.
        default_output_uri: The operator's own store, for a job without `spec.output.uri`.
        traceparent: W3C trace context of the pass.

    Returns:
        The request, ready to be written.
    """
    spec = job.spec
    return TrainRequest(
        job=ObjectRef(
            namespace=job.metadata.namespace,
            name=job.metadata.name,
            uid=job.metadata.uid,
            generation=max(1, job.metadata.generation),
        ),
        task=spec.task,
        model=spec.model,
        dataset=spec.dataset,
        method=spec.method,
        training=spec.training,
        evaluation=spec.evaluation,
        output_prefix=output_prefix(job, default_output_uri),
        compute=ComputeRequest(
            gpus=spec.resources.gpus,
            nodes=spec.resources.nodes if spec.resources.nodes > 1 else None,
            threads=child_limits(job).threads,
        ),
        pinned=pinned,
        traceparent=traceparent,
    )


def output_prefix(job: FineTuneJob, default_output_uri: str) -> str:
    """Say where the job's artifacts lie: `<output.uri>/<namespace>/<name>/`."""
    root = job.spec.output.uri or default_output_uri
    return f"{root.rstrip('/')}/{job.metadata.namespace}/{job.metadata.name}/"
