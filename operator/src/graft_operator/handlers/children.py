"""kopf's events of what Graft made: services, routes, TrainJobs with our label. Jobs and pods are watched beside it (docs/adr/0019).

There is one of each for a release or a job, and some are served only where KServe, Kubeflow's trainer or the Gateway API are installed:
kopf finds out, and begins and ends its watches as definitions come and go.
"""

from typing import Final

import kopf

from graft_operator.handlers.runtime import Runtime
from graft_operator.ports import DEPLOYMENTS, HTTP_ROUTES, INFERENCE_SERVICES, TRAIN_JOBS

__all__ = ["WATCHED", "child_changed"]

WATCHED: Final = (TRAIN_JOBS, INFERENCE_SERVICES, DEPLOYMENTS, HTTP_ROUTES)


async def child_changed(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Take an event of a child."""
    runtime: Runtime = memo.runtime
    runtime.pump.take_child(event["type"], dict(event["object"]))


for resource in WATCHED:
    kopf.on.event(
        resource.group, resource.api_version.rpartition("/")[2], resource.plural, id=f"child_{resource.plural}"
    )(child_changed)
