"""Events of Graft's own objects."""

import kopf

from graft_core.api.v1alpha1.names import GROUP, KIND_FINETUNEJOB, KIND_MODELRELEASE, PLURALS, VERSION
from graft_operator.handlers.runtime import Runtime

__all__ = ["object_changed"]


@kopf.on.event(GROUP, VERSION, PLURALS[KIND_FINETUNEJOB])
@kopf.on.event(GROUP, VERSION, PLURALS[KIND_MODELRELEASE])
async def object_changed(event: kopf.RawEvent, memo: kopf.Memo, **_: object) -> None:
    """Take an event of a FineTuneJob or a ModelRelease."""
    runtime: Runtime = memo.runtime
    runtime.pump.take_object(event["type"], dict(event["object"]))
