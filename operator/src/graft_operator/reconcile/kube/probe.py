"""Does this cluster's KServe put the weights of `spec.canary[]` into its HTTPRoute? Asked before the first arm is made, of a service of our own.

KServe 0.20 takes canaries, runs them, says that they are ready with their percent, and sends them nothing; versions before drop the field;
versions after split. The CRD and `status.canaryStatuses` are the same in both, so only the route tells. To ask it of a release that people
use would mean moving that release, with its traffic, where the answer is no. So each first release asks with a throw-away InferenceService:
two containers that answer every request with 503, weights 50/50, nobody knows its name, gone after seconds.

    the probe                                                             the answer
    refused by the API server or KServe's webhook                         Slots
    stored without its canary (the CRD does not have the field)           Slots
    its route names a second backend with a weight                        KServeWeights
    both Deployments available for 20 s, and no second backend            Slots
    older than 3 minutes (images, quota, no Gateway API in KServe)        Slots: they work with every version

The answer is kept in `status.trafficStrategy` for as long as the release lives. KServe updated: slots go on working. KServe taken back to a
version that does not split: the next canary says TrafficSplitUnsupported and is taken back (`arms.SPLIT_GRACE_S`), the stable arm serves on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from graft_core.clock import from_rfc3339
from graft_operator.ports import Json
from graft_operator.reconcile.kube.parts import find_condition, text
from graft_operator.reconcile.kube.traffic import read_route
from graft_operator.reconcile.kube.view import Strategy

__all__ = ["CANARY", "PROBE_PERCENT", "Probing", "decide_probe", "probe_name"]

CANARY: Final = "split"
"""Name of the probe's canary predictor."""
PROBE_PERCENT: Final = 50
"""Its percent."""
SETTLE_S: Final = 20.0
"""Seconds that KServe gets to change its route once both Deployments are available."""
DEADLINE_S: Final = 180.0
"""Seconds after which an answer is no longer waited for."""
POLL_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Probing:
    """Where the question stands."""

    do: Literal["create", "wait", "answer"]
    answer: Strategy | None = None
    message: str = ""


def probe_name(name: str) -> str:
    """Name a release's probe."""
    return f"{name}-probe"


def decide_probe(
    probe: Json | None, deployments: Mapping[str, Json], route: Json | None, now: datetime, *, is_refused: bool = False
) -> Probing:
    """Decide what to do about the probe.

    Args:
        probe: The InferenceService; None where there is none.
        deployments: Its Deployments, by name.
        route: KServe's HTTPRoute of its name.
        now: Time of the pass.
        is_refused: It could not be made.

    Returns:
        Whether to make it, to wait, or the answer.
    """
    if is_refused:
        return _answer(Strategy.SLOTS, "the probe was refused")
    if probe is None:
        return Probing("create", message="finding out whether KServe splits traffic")
    if not probe["spec"].get("canary"):
        return _answer(Strategy.SLOTS, "this KServe does not know spec.canary")
    name = probe["metadata"]["name"]
    backend = f"{name}-{CANARY}-predictor"
    if route is not None and read_route(route).get(backend, 0) > 0:
        return _answer(Strategy.WEIGHTS, "KServe put the canary's weight into its HTTPRoute")
    available = [_available_since(deployments.get(one)) for one in (f"{name}-predictor", backend)]
    since = [stamp for stamp in available if stamp is not None]
    if len(since) == len(available) and (now - max(since)).total_seconds() > SETTLE_S:
        return _answer(Strategy.SLOTS, "KServe runs the canary and sends it nothing")
    age_s = (now - from_rfc3339(probe["metadata"]["creationTimestamp"])).total_seconds()
    if age_s > DEADLINE_S:
        return _answer(Strategy.SLOTS, f"no answer within {DEADLINE_S:.0f} s")
    return Probing("wait", message="finding out whether KServe splits traffic")


def _answer(strategy: Strategy, why: str) -> Probing:
    told = (
        "by KServe's own weights" if strategy is Strategy.WEIGHTS else "between two slots, by an HTTPRoute of Graft's"
    )
    return Probing("answer", strategy, f"traffic is split {told}: {why}")


def _available_since(deployment: Json | None) -> datetime | None:
    found = find_condition(deployment, "Available")
    return from_rfc3339(text(found, "lastTransitionTime")) if found.get("status") == "True" else None
