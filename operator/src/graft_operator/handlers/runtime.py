"""The operator put together: client, election, queue, passes, timed looks, events, probes; begun and ended as one."""

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry

from graft_core.api.v1alpha1.names import LABEL_UID
from graft_core.clock import Clock, SystemClock
from graft_core.errors import GraftError
from graft_core.telemetry.logs import get_log
from graft_core.telemetry.metrics import MetricSet, render_metrics
from graft_operator.cluster.client import KubernetesCluster
from graft_operator.cluster.credentials import CredentialSource
from graft_operator.cluster.events import EventRecorder
from graft_operator.cluster.faults import Call
from graft_operator.cluster.lease import Election, Fence, Timing
from graft_operator.cluster.transport import Limits, Transport
from graft_operator.cluster.watch import Taker, Watch
from graft_operator.engine.cycle import RESOURCES, Cycle, JobShell, ReleaseShell
from graft_operator.engine.directory import Directory, Key
from graft_operator.engine.dispatcher import Dispatcher
from graft_operator.engine.metrics import OperatorMetrics
from graft_operator.engine.pump import Pump
from graft_operator.engine.queue import Pace, WorkQueue
from graft_operator.engine.resync import Resync
from graft_operator.handlers.probes import Probes
from graft_operator.handlers.shells import make_shells
from graft_operator.ports import FINE_TUNE_JOBS, JOBS, MODEL_RELEASES, PODS, Cluster, Resource
from graft_operator.settings import OperatorSettings

__all__ = ["Runtime", "ShellFactory"]

_LOG = get_log(__name__)

STUCK_AFTER_S: Final = 30.0
"""A loop that turns each five seconds and has not for so long hangs."""
SERVED_LOOK_S: Final = 90.0
"""Time between looks at what is served, once all is there; the client believes an answer for a minute."""
LOOP_LOOK_S: Final = 0.1
DRAIN_S: Final = 3.5
"""What passes under way get at the end; with the Lease's release that stays within five seconds."""

WATCHED: Final[tuple[tuple[Resource, str], ...]] = (
    (FINE_TUNE_JOBS, ""),
    (MODEL_RELEASES, ""),
    (JOBS, LABEL_UID),
    (PODS, LABEL_UID),
)
"""What there may be tens of thousands of, and by which label; kopf watches the rest (`handlers.children`)."""

ShellFactory = Callable[[Cluster, Clock, OperatorSettings], tuple[JobShell, ReleaseShell]]
"""Makes the shells of both kinds."""


class Runtime:
    """One replica."""

    def __init__(
        self,
        settings: OperatorSettings,
        environment: Mapping[str, str],
        *,
        is_own: bool = False,
        shells: ShellFactory = make_shells,
    ) -> None:
        """Put together; nothing is opened yet.

        Args:
            settings: What it is told.
            environment: For finding credentials.
            is_own: It was begun by kopf's startup, and ends with its cleanup.
            shells: Makes the shells.
        """
        self.settings = settings
        self.is_own = is_own
        self.credentials = CredentialSource(environment, kubeconfig=settings.kubeconfig, context=settings.context)
        self._clock = SystemClock()
        self.metrics = OperatorMetrics(MetricSet(CollectorRegistry(auto_describe=True)))
        self._timing = Timing(settings.lease_duration_s, settings.lease_deadline_s, settings.lease_period_s)
        self._fence = Fence(self._clock, self._timing)
        limits = Limits(max_in_flight=settings.max_requests, write_s=self._timing.write_s)
        self._cluster = self._connect(self._fence, limits)
        # The election has connections of its own, so that a renewal never waits behind the passes' requests.
        read_s = min(3.0, self._timing.deadline_s)
        election_limits = Limits(max_in_flight=2, read_s=read_s, write_s=self._timing.write_s, read_tries=1)
        self._election_cluster = self._connect(None, election_limits)
        self._events = EventRecorder(self._cluster, self._clock, settings.pod_name)
        self.directory = Directory()
        jobs, releases = shells(self._cluster, self._clock, settings)
        cycle = Cycle(self._cluster, self._events, jobs, releases, self.directory, self.metrics, self._clock)
        self._queue: WorkQueue[Key] = WorkQueue(self._clock, Pace(max_running=settings.max_passes), random.random)
        self._dispatcher = Dispatcher(self._queue, cycle.run, self._clock)
        self.pump = Pump(self.directory, self.metrics, self._dispatcher.mark, self._forgetter(cycle), self._clock)
        self._election: Election | None = None
        self._namespaces = settings.namespaces or ("",)
        self._resync = Resync(
            self._cluster,
            self.directory,
            self.pump,
            namespaces=self._namespaces,
            is_leading=lambda: self._fence.is_open,
        )
        self._watching = Transport(
            self.credentials, self._clock, limits=Limits(max_in_flight=4 * len(WATCHED) * len(self._namespaces))
        )
        self._probes = Probes(self._find_illness, self._find_unreadiness, self._render)
        self._tasks: list[asyncio.Task[None]] = []
        self._missing: tuple[str, ...] = ("the API server has not answered yet",)

    @property
    def port(self) -> int:
        """Port of the probes."""
        return self._probes.port

    async def start(self) -> None:
        """Begin; `InvalidInput` where there are no credentials to be read."""
        found = await self.credentials.read()
        self._election = Election(
            self._election_cluster,
            self._fence,
            self._clock,
            namespace=self.settings.own_namespace or found.namespace,
            name=self.settings.lease_name,
            identity=f"{self.settings.pod_name}_{secrets.token_hex(4)}",  # of this process: a restarted one is another
            timing=self._timing,
        )
        await self._probes.start(self.settings.probe_host, self.settings.probe_port)
        for name, work in (
            ("election", self._election.run(lambda leads: self._leadership_changed(is_leading=leads))),
            ("dispatcher", self._dispatcher.run()),
            ("events", self._events.run()),
            ("resync", self._resync.run()),
            ("served", self._look_at_served()),
            ("loop", self._time_loop()),
            *self._watches(),
        ):
            self._tasks.append(asyncio.create_task(work, name=name))

    async def stop(self) -> None:
        """Finish what is under way, within five seconds, and give the Lease back."""
        await self._dispatcher.drain(DRAIN_S)
        await self._events.flush(0.5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._election is not None:
            await self._election.release()
        await self._probes.stop()
        await self._cluster.close()
        await self._election_cluster.close()
        await self._watching.close()

    def _watches(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """Return the loops that tell of Graft's own objects, and of their Jobs and pods."""
        found: list[tuple[str, Coroutine[Any, Any, None]]] = []
        for resource, labels in WATCHED:
            take: Taker = self.pump.take_child if labels else self.pump.take_object
            for namespace in self._namespaces:
                watch = Watch(
                    self._watching,
                    resource,
                    namespace,
                    take,
                    labels=labels,
                    page=self.settings.list_chunk,
                    broke=self.metrics.broken.inc,
                )
                found.append((f"watch of {resource.plural}", watch.run()))
        return found

    def _connect(self, fence: Fence | None, limits: Limits) -> KubernetesCluster:
        transport = Transport(self.credentials, self._clock, fence=fence, limits=limits, answered=self._answered)
        return KubernetesCluster(transport, self._clock)

    def _answered(self, call: Call, outcome: str, seconds: float) -> None:
        self.metrics.answered(call.verb, call.resource, outcome, seconds)

    def _forgetter(self, cycle: Cycle) -> Callable[[Key, str], None]:
        def forget(key: Key, uid: str) -> None:
            self._dispatcher.forget(key)
            cycle.forget(key, uid)

        return forget

    def _leadership_changed(self, *, is_leading: bool) -> None:
        self.metrics.leading.set(is_leading)
        if is_leading:
            self.pump.mark_all()
        self._dispatcher.hold(is_held=not is_leading)

    async def _look_at_served(self) -> None:
        """See whether Graft's own CRDs are served: without them there is nothing to do, and nothing to break."""
        while True:
            try:
                served = {resource: await self._cluster.serves(resource) for resource in RESOURCES.values()}
                self._missing = tuple(
                    f"{r.plural}.{r.group} is not served" for r, is_there in served.items() if not is_there
                )
            except GraftError as error:
                self._missing = (f"the API server does not answer ({error.reason})",)
            await asyncio.sleep(2.0 if self._missing else SERVED_LOOK_S)

    async def _time_loop(self) -> None:
        """Measure what stands between a timer and its turn: whatever holds the loop up holds up everything."""
        while True:
            due = self._clock.monotonic() + LOOP_LOOK_S
            await asyncio.sleep(LOOP_LOOK_S)
            self.metrics.loop_late_seconds.observe(max(0.0, self._clock.monotonic() - due))

    def _find_illness(self) -> str:
        ended = [task.get_name() for task in self._tasks if task.done()]
        if ended:
            return f"the {ended[0]} loop has ended"
        if self._clock.monotonic() - self._dispatcher.turned_at > STUCK_AFTER_S:
            return "the queue's loop does not turn"
        return "" if self._resync.is_watch_fresh else "a watch tells nothing any more"

    def _find_unreadiness(self) -> str:
        return "; ".join(self._missing)

    def _render(self) -> bytes:
        self.metrics.waiting.set(self._queue.depth)
        self.metrics.running.set(self._queue.running)
        self.metrics.dropped.set(self._events.dropped)
        self.metrics.count_objects(self.directory)
        return render_metrics(self.metrics.registry)
