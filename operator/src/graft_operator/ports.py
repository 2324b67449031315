"""What the Kubernetes shells need of a cluster: the resources by name, and seven verbs.

The shells (`cluster/job_shell.py`, `cluster/release_shell.py`) and the engine speak to `Cluster` and to nothing else.
`cluster.client.KubernetesCluster` is the real one, `tests/fakes/kube.py` an in-memory double. Objects are plain JSON, as the API server
sends them: nothing is lost that Graft does not know.

The pass around the shells is `engine/cycle.py`: it reads the object, calls `shell.decide`, puts on and takes off Graft's finalizer
itself (both kinds do it alike), hands every other action to `shell.apply`, writes the status once, and emits the events.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from graft_core.api.v1alpha1.names import API_VERSION, KIND_FINETUNEJOB, KIND_MODELRELEASE, PLURALS

__all__ = [
    "CONFIG_MAPS",
    "CONTROLLER_REVISIONS",
    "DEPLOYMENTS",
    "EVENTS",
    "FIELD_MANAGER",
    "FINE_TUNE_JOBS",
    "HTTP_ROUTES",
    "INFERENCE_SERVICES",
    "JOBS",
    "KNATIVE_REVISIONS",
    "KNATIVE_SERVICES",
    "LEASES",
    "MODEL_RELEASES",
    "PODS",
    "REPLICA_SETS",
    "SERVICES",
    "TRAINING_RUNTIMES",
    "TRAIN_JOBS",
    "WORKLOADS",
    "Cluster",
    "Json",
    "Objects",
    "Resource",
]

Json = dict[str, Any]
"""A Kubernetes object, or a part of one, as JSON."""

Objects = list[Json]
"""What a list call returns; inside of a class with a method `list`, that word names the method."""

FIELD_MANAGER: Final = "graft"
"""Field manager of all that Graft writes."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A namespaced resource that an API server may serve."""

    api_version: str
    """Group and version, e.g. `batch/v1`; core resources have only `v1`."""
    kind: str
    plural: str
    """As in the URL, e.g. `jobs`."""

    @property
    def group(self) -> str:
        """API group; empty for core resources."""
        return self.api_version.rpartition("/")[0]

    @property
    def root(self) -> str:
        """Path of the group version, e.g. `/apis/batch/v1`."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Return the URL path of one object, of a namespace's collection, or (namespace `""`) of the whole cluster's."""
        parts = [self.root]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


FINE_TUNE_JOBS: Final = Resource(API_VERSION, KIND_FINETUNEJOB, PLURALS[KIND_FINETUNEJOB])
MODEL_RELEASES: Final = Resource(API_VERSION, KIND_MODELRELEASE, PLURALS[KIND_MODELRELEASE])
CONFIG_MAPS: Final = Resource("v1", "ConfigMap", "configmaps")
CONTROLLER_REVISIONS: Final = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
DEPLOYMENTS: Final = Resource("apps/v1", "Deployment", "deployments")
EVENTS: Final = Resource("v1", "Event", "events")
HTTP_ROUTES: Final = Resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
INFERENCE_SERVICES: Final = Resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")
JOBS: Final = Resource("batch/v1", "Job", "jobs")
KNATIVE_REVISIONS: Final = Resource("serving.knative.dev/v1", "Revision", "revisions")
KNATIVE_SERVICES: Final = Resource("serving.knative.dev/v1", "Service", "services")
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")
PODS: Final = Resource("v1", "Pod", "pods")
REPLICA_SETS: Final = Resource("apps/v1", "ReplicaSet", "replicasets")
SERVICES: Final = Resource("v1", "Service", "services")
TRAINING_RUNTIMES: Final = Resource("trainer.kubeflow.org/v1alpha1", "TrainingRuntime", "trainingruntimes")
TRAIN_JOBS: Final = Resource("trainer.kubeflow.org/v1alpha1", "TrainJob", "trainjobs")
WORKLOADS: Final = Resource("kueue.x-k8s.io/v1beta1", "Workload", "workloads")


class Cluster(Protocol):
    """The verbs the shells need; every call has a deadline of its own.

    Every verb may raise, with a message that names verb, resource, namespace, name and the server's reason:

    - `NotReady(retry_after_s)`: 429, 5xx, no connection, or past the deadline. It may have been carried out all the same.
    - `Conflict`: 409: the name is taken, or the resourceVersion or uid has moved on.
    - `Forbidden`: 401 or 403: a person must grant the right.
    - `InvalidInput`: any other 4xx, with the server's own message. Also 404 where something is to be written.
    - `NotReady` with reason `NotLeading`: a write, and this replica does not lead (any more). It was not sent.
    """

    async def serves(self, resource: Resource) -> bool:
        """Say whether the API server serves the resource; an answer may be a minute old."""
        ...

    async def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Read one object; None where there is none, or where the resource is not served."""
        ...

    async def list(self, resource: Resource, namespace: str, labels: Mapping[str, str]) -> Objects:
        """Read all objects that carry the labels, page by page (500 a page).

        Args:
            resource: What to list.
            namespace: Where; `""` is the whole cluster.
            labels: Labels with their values that an object must carry; a value of `""` asks only that the label is there.

        Returns:
            The objects, with `apiVersion` and `kind`; empty also where the resource is not served.
        """
        ...

    def walk(self, resource: Resource, namespace: str, labels: Mapping[str, str]) -> AsyncIterator[Objects]:
        """Read the metadata alone of all objects that carry the labels, a page at a time; arguments as for `list`."""
        ...

    async def create(self, resource: Resource, body: Json) -> Json:
        """Create an object (POST); `Conflict` where its name is taken."""
        ...

    async def apply(self, resource: Resource, body: Json) -> Json:
        """Apply an object server-side, forced, as field manager `graft`.

        Args:
            resource: What it is.
            body: The object. Where `metadata.resourceVersion` is set: `Conflict` where the object has moved on from it. That guards no
                object that is gone: like any other apply it makes one.

        Returns:
            The object as it is now.
        """
        ...

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Json,
        *,
        resource_version: str | None = None,
        subresource: str = "",
    ) -> Json:
        """Patch an object (JSON merge patch).

        Args:
            resource: What it is.
            namespace: Where it is.
            name: Which one.
            patch: What to change; null removes, lists are replaced whole.
            resource_version: `Conflict` where the object has moved on from it.
            subresource: e.g. `status`.

        Returns:
            The object as it is now.
        """
        ...

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        grace_s: int | None = None,
    ) -> None:
        """Delete an object and, in the background, what it owns.

        Args:
            resource: What it is.
            namespace: Where it is.
            name: Which one.
            uid: `Conflict` where another object has the name by now; where none has, that is success.
            resource_version: `Conflict` where the object has moved on from it.
            grace_s: Seconds that pods get to end.
        """
        ...

    async def fetch_pod(self, namespace: str, name: str, port: int, path: str) -> bytes:
        """GET from a pod over HTTP at its IP, within 2 s; `NotReady` where it has no IP or does not answer with 200."""
        ...
