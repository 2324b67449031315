"""The stand-in's loop: looks at all InferenceServices where something has changed, and brings their children and status up to date.

Level-triggered, one pass a look. Within a pass the order is the real controller's: predictors are applied, those no longer wanted are
deleted, and only then the routes are rewritten. Removing a canary that still has traffic therefore fails requests, as it does there.
"""

import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import httpx

from graft_core.clock import Clock, SystemClock, to_rfc3339
from tests.cluster.api import Access, Api, ApiError
from tests.cluster.changes import watching
from tests.cluster.doubles import DEPLOYMENT, PASSING, ROUTE
from tests.cluster.kserve_standin.objects import (
    COMPONENT_LABELS,
    GROUP,
    ISVC,
    LABEL,
    Behaviour,
    Plan,
    Settings,
    render_deployment,
    render_routes,
    render_service,
    to_plan,
)
from tests.cluster.kserve_standin.status import available, to_status

__all__ = ["StandIn", "standing_in"]

Json = dict[str, Any]

FINALIZER = "inferenceservice.finalizers"
MANAGER = "kserve-standin"
LOOK_S = 0.1
SERVICE = ("v1", "Service")

log = logging.getLogger(__name__)


class StandIn:
    """Plays KServe for all namespaces of one API server."""

    def __init__(self, api: Api, settings: Settings, clock: Clock | None = None) -> None:
        self.api = api
        self.settings = settings
        self._clock = clock or SystemClock()

    def run(self, stop: Event) -> None:
        """Look until told to stop."""
        with watching(self.api.access, ISVC, DEPLOYMENT, ROUTE) as changes:
            while changes.wait(stop, LOOK_S):
                try:
                    self.look()
                except httpx.TransportError as error:
                    log.warning("kserve stand-in: the server is away: %s", error)

    def look(self) -> None:
        """One pass over all services."""
        for isvc in self._services():
            try:
                self._reconcile(isvc)
            except ApiError as error:
                _let_pass(isvc["metadata"]["name"], error)

    def _services(self) -> list[Json]:
        try:
            return self.api.list(*ISVC)
        except ApiError as error:
            _let_pass("all services", error)
            return []

    def _reconcile(self, isvc: Json) -> None:
        if isvc["metadata"].get("annotations", {}).get(f"{GROUP}/deploymentMode") != "Standard":
            return
        if "deletionTimestamp" in isvc["metadata"]:
            self._set_finalizers(isvc, [])
            return
        if FINALIZER not in isvc["metadata"].get("finalizers", ()):
            self._set_finalizers(isvc, [FINALIZER])
        before = self._children(DEPLOYMENT, isvc)
        stable, canaries = to_plan(isvc, available(before), self.settings.behaviour)
        self._apply_predictors(isvc, (stable, *canaries), before)
        deployments = self._children(DEPLOYMENT, isvc)
        routes = self._apply_routes(isvc, stable, canaries, available(deployments))
        self._write_status(isvc, stable, canaries, deployments, routes)

    def _set_finalizers(self, isvc: Json, finalizers: list[str]) -> None:
        others = [name for name in isvc["metadata"].get("finalizers", ()) if name != FINALIZER]
        version = isvc["metadata"]["resourceVersion"]
        stored = self.api.patch(isvc, {"metadata": {"finalizers": others + finalizers, "resourceVersion": version}})
        isvc["metadata"] = stored["metadata"]

    def _children(self, kind: tuple[str, str], isvc: Json) -> dict[str, Json]:
        labels = {**COMPONENT_LABELS, LABEL: isvc["metadata"]["name"]}
        found = self.api.list(*kind, namespace=isvc["metadata"]["namespace"], labels=labels)
        return {item["metadata"]["name"]: item for item in found}

    def _apply_predictors(self, isvc: Json, plans: Iterable[Plan], deployments: dict[str, Json]) -> None:
        services = self._children(SERVICE, isvc)
        wanted: set[str] = set()
        for plan in plans:
            wanted.add(plan.name)
            self._apply(render_deployment(isvc, plan), deployments.get(plan.name))
            self._apply(render_service(isvc, plan), services.get(plan.name))
        # By label alone, whoever made them: that is what the real one does too.
        for item in (*deployments.values(), *services.values()):
            if item["metadata"]["name"] not in wanted:
                self.api.delete(item)

    def _apply_routes(self, isvc: Json, stable: Plan, canaries: tuple[Plan, ...], ready: set[str]) -> list[Json]:
        has_weights = self.settings.behaviour is Behaviour.WEIGHTS
        weighted = tuple(canary for canary in canaries if has_weights and canary.name in ready)
        rendered = render_routes(isvc, stable, weighted, self.settings)
        namespace = isvc["metadata"]["namespace"]
        return [self._apply(route, self.api.find(*ROUTE, namespace, route["metadata"]["name"])) for route in rendered]

    def _apply(self, rendered: Json, live: Json | None) -> Json:
        if live is not None and is_part_of(rendered, live):
            return live
        return self.api.apply(rendered, MANAGER)

    def _write_status(
        self,
        isvc: Json,
        stable: Plan,
        canaries: tuple[Plan, ...],
        deployments: dict[str, Json],
        routes: list[Json],
    ) -> None:
        now = to_rfc3339(self._clock.now())
        status = to_status(isvc, stable, canaries, deployments, routes, self.settings, now)
        if status == isvc.get("status"):
            return
        gone = dict.fromkeys(isvc.get("status", {}), None)
        version = isvc["metadata"]["resourceVersion"]
        change = {"metadata": {"resourceVersion": version}, "status": {**gone, **status}}
        self.api.patch(isvc, change, subresource="status")


def _let_pass(name: str, error: ApiError) -> None:
    if error.status not in PASSING:
        raise error
    log.info("kserve stand-in: %s: %s", name, error)


def is_part_of(rendered: object, live: object) -> bool:
    """Is everything that was rendered in the live object, whatever the server has added to it, and but for empty texts, which it leaves out?"""
    if isinstance(rendered, dict) and isinstance(live, dict):
        return all(is_part_of(value, live[key]) if key in live else value == "" for key, value in rendered.items())
    if isinstance(rendered, list) and isinstance(live, list):
        return len(rendered) == len(live) and all(map(is_part_of, rendered, live))
    return rendered == live


@contextmanager
def standing_in(access: Access, behaviour: Behaviour, **settings: str) -> Generator[StandIn, None, None]:
    """Run a stand-in in a thread: for a control plane of the test's own, where no other KServe can be.

    Args:
        access: Of somebody who may write InferenceServices and their children.
        behaviour: Which KServe is played.
        settings: Fields of `Settings`.

    Yields:
        The stand-in.
    """
    stop = Event()
    with Api(access) as api:
        standin = StandIn(api, Settings(behaviour, **settings))
        thread = Thread(target=standin.run, args=[stop], name="kserve-standin", daemon=True)
        thread.start()
        try:
            yield standin
        finally:
            stop.set()
            thread.join()
