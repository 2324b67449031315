"""The TrainRequest as an immutable ConfigMap: one for both children of a job, named by its content.

Trace context and generation are not part of the name: the one differs with each pass, the other with each suspension, and a pass that
died between this object and the Job must find it again. What the check pinned is not part of it either, it travels in the train Job (`graft_core.contracts.pod.PINNED_ENV`).
"""

import hashlib
from typing import Any, Final

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.contracts.pod import REQUEST_FILE
from graft_core.contracts.train_request import TrainRequest
from graft_core.errors import InvalidInput
from graft_operator.render.kube.labels import child_labels, owner_reference
from graft_operator.render.names import child_name

__all__ = ["REQUEST_ROLE", "render_request_config_map"]

REQUEST_ROLE: Final = "request"
"""Its role among what is made for a job."""
HASH_LENGTH: Final = 10
"""Hex digits of the content's hash."""
MAX_REQUEST_BYTES: Final = 1_000_000
"""An API server refuses ConfigMaps of more than 1 MiB."""


def render_request_config_map(job: FineTuneJob, request: TrainRequest) -> dict[str, Any]:
    """Render the ConfigMap that both children mount.

    Args:
        job: The owner.
        request: What they are given, not pinned.

    Returns:
        The object.

    Raises:
        InvalidInput: The request is larger than a ConfigMap may be.
    """
    text = request.to_json()
    size = len(text.encode())
    if size > MAX_REQUEST_BYTES:
        raise InvalidInput(
            f"spec of {job.metadata.name!r} has {size} bytes as a request, more than the {MAX_REQUEST_BYTES} of a ConfigMap; "
            "shorten spec.task.system, template or outputSchema",
            path="spec.task",
        )
    origin = request.job.model_copy(update={"generation": 1})
    content = request.model_copy(update={"traceparent": None, "job": origin}).to_json()
    digest = hashlib.sha256(content.encode()).hexdigest()[:HASH_LENGTH]
    meta = job.metadata
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{child_name(meta.name, meta.uid, REQUEST_ROLE)}-{digest}",
            "namespace": meta.namespace,
            "labels": child_labels(meta, REQUEST_ROLE),
            "ownerReferences": [owner_reference(meta)],
        },
        "immutable": True,
        "data": {REQUEST_FILE.rpartition("/")[2]: text},
    }
