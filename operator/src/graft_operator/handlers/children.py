"""Events of what Graft made, and of what came of it: Jobs, pods, services and routes with our label.

Optional resources (KServe's, Kubeflow's, the Gateway API's) are watched where they are served, from the moment they are.
"""

from typing import Final

import kopf

from graft_operator.handlers.runtime import Runtime
from graft_operator.ports import DEPLOYMENTS, HTTP_ROUTES, INFERENCE_SERVICES, JOBS, PODS, TRAIN_JOBS

__all__ = ["WATCHED", "child_changed"]

WATCHED: Final = (JOBS, PODS, TRAIN_JOBS, INFERENCE_SERVICES, DEPLOYMENTS, HTTP_ROUTES)


async def child_changed(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Take an event of a child."""
    runtime: Runtime = memo.runtime
    runtime.pump.take_child(event["type"], dict(event["object"]))


for resource in WATCHED:
    kopf.on.event(
        resource.group, resource.api_version.rpartition("/")[2], resource.plural, id=f"child_{resource.plural}"
    )(child_changed)
