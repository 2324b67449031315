"""What the objects of one child are rendered from, beside the FineTuneJob and the operator's own defaults."""

from dataclasses import dataclass
from typing import Literal

from graft_core.contracts.train_request import Pinned

__all__ = ["ChildPlan"]


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """One child."""

    role: Literal["check", "train"]
    """check looks at everything on a CPU; train trains, evaluates and publishes."""
    name: str
    """`render.names.child_name`."""
    request_name: str
    """The ConfigMap with the request."""
    pinned: Pinned | None = None
    """What the check saw; set for the train child."""
    max_restarts: int = 0
    """Counted restarts."""
