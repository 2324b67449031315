"""The probe of `reconcile.kube.probe` on a cluster: made, looked at, taken away."""

from datetime import datetime
from typing import Final

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_core.errors import Conflict, InvalidInput
from graft_operator.cluster.release_view import SERVICE_LABEL
from graft_operator.ports import DEPLOYMENTS, HTTP_ROUTES, INFERENCE_SERVICES, Cluster, Json
from graft_operator.reconcile.decision import Upkeep
from graft_operator.reconcile.kube.probe import CANARY, PROBE_PERCENT, Probing, decide_probe, probe_name
from graft_operator.reconcile.kube.view import version_of
from graft_operator.render.kube.inference_service import render_probe

__all__ = ["MAKE_PROBE", "REMOVE_PROBE", "Probe"]

MAKE_PROBE: Final = "MakeProbe"
REMOVE_PROBE: Final = "RemoveProbe"


class Probe:
    """Asks KServe whether it splits traffic."""

    def __init__(self, cluster: Cluster, image: str) -> None:
        self._cluster = cluster
        self._image = image
        self._refused: set[str] = set()
        """Uids of releases whose probe the API server would not take."""

    async def look(self, release: ModelRelease, services: dict[str, Json], now: datetime) -> Probing:
        """Look at the probe of a release."""
        meta, name = release.metadata, probe_name(release.metadata.name)
        probe = services.get(name)
        deployments: list[Json] = []
        route: Json | None = None
        if probe is not None:
            deployments = await self._cluster.list(DEPLOYMENTS, meta.namespace, {SERVICE_LABEL: name})
            route = await self._cluster.get(HTTP_ROUTES, meta.namespace, name)
        by_name = {body["metadata"]["name"]: body for body in deployments}
        return decide_probe(probe, by_name, route, now, is_refused=meta.uid in self._refused)

    def find_upkeep(
        self, release: ModelRelease, services: dict[str, Json], probing: Probing | None
    ) -> tuple[Upkeep, ...]:
        """Say what is to be done: to make the probe while the answer is wanted, to take it away once it is known."""
        name = probe_name(release.metadata.name)
        if probing is not None and probing.do == "create":
            return (Upkeep(MAKE_PROBE, name),)
        is_over = probing is None and name in services and not services[name]["metadata"].get("deletionTimestamp")
        return (Upkeep(REMOVE_PROBE, name),) if is_over else ()

    async def make(self, release: ModelRelease) -> None:
        """Make the probe; where it is refused, that is the answer."""
        name = probe_name(release.metadata.name)
        body = render_probe(release, name, image=self._image, canary=CANARY, percent=PROBE_PERCENT)
        try:
            await self._cluster.create(INFERENCE_SERVICES, body)
        except (Conflict, InvalidInput):
            # Taken by somebody else, or not allowed here: either way nothing will be learned from it.
            self._refused.add(release.metadata.uid)

    async def remove(self, release: ModelRelease, services: dict[str, Json]) -> None:
        """Take the probe away."""
        probe = services.get(probe_name(release.metadata.name))
        if probe is not None:
            meta = probe["metadata"]
            await self._cluster.delete(
                INFERENCE_SERVICES,
                meta["namespace"],
                meta["name"],
                uid=meta["uid"],
                resource_version=version_of(probe),
            )

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        self._refused.discard(uid)
