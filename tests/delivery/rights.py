"""Stories that make the operator use each of its rights on a real API server, and the audit log that says which it used.

The operator is the real one, with the ServiceAccount and the roles of manifests/rbac. The Job controller is Kubernetes' own; kubelet, KServe's controller, Kubeflow
and Knative are doubles: pods end as the story says, and of the last two only kinds are there, without a schema.
"""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.contracts.pod import PROGRESS_PORT
from graft_core.contracts.train_report import Progress
from graft_operator.ports import KNATIVE_REVISIONS, TRAIN_JOBS, TRAINING_RUNTIMES, Resource
from tests.builders import some_progress
from tests.cluster.api import Access, Api, ApiError, Json
from tests.cluster.doubles import end_pod, start_pod
from tests.cluster.processes import until
from tests.operator.cluster.job_story import a_report_of

if TYPE_CHECKING:
    from tests.cluster.controlplane import ControlPlane

__all__ = ["JobTale", "answering_progress", "double_of", "log_in", "used_by"]

PATIENCE_S = 60.0
POD_IP = "127.0.81.1"
"""Loopback too, and hardly anybody else listens at its port."""


def double_of(resource: Resource) -> Json:
    """Define a kind of somebody else's, without a schema."""
    names = {"kind": resource.kind, "plural": resource.plural, "singular": resource.kind.lower()}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": resource.api_version.rpartition("/")[2], "served": True, "storage": True, "schema": schema}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "names": {**names, "listKind": f"{resource.kind}List"},
            "scope": "Namespaced",
            "versions": [{**version, "subresources": {"status": {}}}],
        },
    }


DOUBLES = tuple(double_of(resource) for resource in (TRAIN_JOBS, TRAINING_RUNTIMES, KNATIVE_REVISIONS))
"""Kubeflow's and Knative's kinds."""


def log_in(api: Api, namespace: str, account: str) -> Access:
    """Return access as a ServiceAccount that is there."""
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token: str = api.request("POST", f"{api.path(body)}/token", request)["status"]["token"]
    return Access(api.access.server, api.access.ca, token)


def used_by(plane: "ControlPlane", user: str) -> tuple[set[tuple[str, str, str]], set[tuple[str, str, str]]]:
    """Return what a user was allowed, and what it was refused: group, resource and verb, by the audit log."""
    allowed: set[tuple[str, str, str]] = set()
    refused: set[tuple[str, str, str]] = set()
    for event in plane.audited():
        asked = event.get("objectRef")
        if event["user"]["username"] != user or asked is None:
            continue
        name = "/".join(part for part in (asked["resource"], asked.get("subresource")) if part)
        is_allowed = event["annotations"].get("authorization.k8s.io/decision") == "allow"
        (allowed if is_allowed else refused).add((asked.get("apiGroup", ""), name, event["verb"]))
    return allowed, refused


@contextmanager
def answering_progress() -> Generator[None]:
    """Answer as a trainer whose progress stands still."""
    progress = Progress(at="2026-01-01T00:00:00Z", phase="Training", status=some_progress(1)).to_json().encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(progress)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((POD_IP, PROGRESS_PORT), Answer)
    thread = Thread(target=server.serve_forever, name="trainer-double", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class JobTale:
    """A FineTuneJob and what a person, a queue and the kubelet do to it."""

    def __init__(self, api: Api, body: Json) -> None:
        self._api = api
        self._made = api.create(body)
        meta = self._made["metadata"]
        self._namespace, self._name = meta["namespace"], meta["name"]

    @property
    def body(self) -> Json:
        """As it is stored."""
        return self._api.get("graft.dev/v1alpha1", "FineTuneJob", self._namespace, self._name)

    def edit(self, spec: Json) -> None:
        """Change its spec."""
        self._api.patch(self._made, {"spec": spec})

    def delete(self) -> None:
        """Delete it, and wait until it is gone."""
        self._api.delete(self._made)
        find = partial(self._api.find, "graft.dev/v1alpha1", "FineTuneJob", self._namespace, self._name)
        until(lambda: find() is None, PATIENCE_S, f"{self._name} to go")

    def child(self, role: str, resource: tuple[str, str] = ("batch/v1", "Job")) -> Json:
        """Wait for the child of a role."""
        return self._wait(resource, role)

    def gone(self, role: str, resource: tuple[str, str] = ("batch/v1", "Job")) -> None:
        """Wait until the child of a role is gone."""
        until(lambda: not self._find(resource, role), PATIENCE_S, f"the {role} child to go")

    def admit(self, role: str) -> None:
        """Play the queue that admits a Job."""
        self._api.patch(self.child(role), {"spec": {"suspend": False}})

    def start(self, role: str) -> Json:
        """Have the pod of a child run."""
        return start_pod(self._api, self._wait(("v1", "Pod"), role), ip=POD_IP)

    def pass_check(self) -> None:
        """Have the check end well."""
        report = a_report_of(FineTuneJob.model_validate(self.body), "check").to_json()
        end_pod(self._api, self.start("check"), 0, report)

    def suspend_and_resume(self) -> None:
        """Suspend it, and let it go on."""
        self.edit({"suspend": True})
        until(lambda: self._reason("Suspended") == "SuspendedBySpec", PATIENCE_S, "the suspension")
        self.edit({"suspend": False})
        until(lambda: self._reason("Suspended") == "Resumed", PATIENCE_S, "that it goes on")

    def count_of(self, reason: str) -> int:
        """Return how often an event was told."""
        events = self._api.list("v1", "Event", self._namespace)
        return sum(
            int(one["count"])
            for one in events
            if one["involvedObject"]["name"] == self._name and one["reason"] == reason
        )

    def _reason(self, kind: str) -> str:
        conditions = (self.body.get("status") or {}).get("conditions") or []
        return next((str(one["reason"]) for one in conditions if one["type"] == kind), "")

    def _find(self, resource: tuple[str, str], role: str) -> list[Json]:
        labels = {"graft.dev/name": self._name, "graft.dev/role": role}
        try:
            found = self._api.list(*resource, self._namespace, labels)
        except ApiError as error:
            if error.status == 404:
                return []
            raise
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def _wait(self, resource: tuple[str, str], role: str) -> Json:
        until(lambda: bool(self._find(resource, role)), PATIENCE_S, f"the {role} {resource[1]} of {self._name}")
        return self._find(resource, role)[0]
