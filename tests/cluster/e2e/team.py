"""A team on the cluster: its namespace, its bucket, what it applies, what it sees, and its users, who ask all the time."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from graft_core.storage.objects import open_store
from tests.cluster.api import Api
from tests.cluster.e2e.surroundings import Surroundings
from tests.cluster.errors import BedError
from tests.cluster.node.models import ENCODER
from tests.cluster.processes import until
from tests.trainer.requests import write_texts

__all__ = ["Team", "Users", "a_release"]

Json = dict[str, Any]

GRAFT = "graft.dev/v1alpha1"
SECRET = "store"  # the name of a Secret
TEXT = "good it was number 7"
RECORDS = 400
"""Enough for the tiny encoder to learn all there is."""
PATIENCE_S = 420
"""For training or a rollout on two cores that have other work, too."""


def a_release(job: str, *, checks: list[Json] | None = None, steps: list[Json] | None = None) -> Json:
    """The service `mood`, serving what a job published."""
    step = {"minDurationSeconds": 5, "minRequests": 20}
    return {
        "apiVersion": GRAFT,
        "kind": "ModelRelease",
        "metadata": {"name": "mood"},
        "spec": {
            "model": {"fineTuneJobRef": {"name": job}},
            # Two arms, the operator and a trainer are to fit on two cores.
            "predictor": {"resources": {"cpu": "500m", "memory": "1536Mi"}},
            "rollout": {
                # The next job wants the processor that the arm before holds.
                "scaleDownDelaySeconds": 5,
                "steps": steps or [{"weight": 20, **step}, {"weight": 50, **step}],
                "analysis": {"checks": checks or [{"metric": "error_rate", "maxDelta": "0.02"}]},
            },
        },
    }


@dataclass
class Team:
    """One namespace and what is done in it."""

    api: Api
    around: Surroundings
    namespace: str

    def settle_in(self, folder: Path) -> None:
        """Put a data set into the bucket, and the Secret into the namespace that opens it."""
        keys = dict(self.around.keys)
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": keys})
        self.store, _ = open_store(f"s3://{self.around.bucket}/", {**keys, "AWS_ENDPOINT_URL": self.around.store})
        self.store.put("mood.csv", write_texts(folder / "mood.csv", RECORDS))

    def train(self, name: str, **training: Any) -> Json:
        """Apply a job: classification of short texts on the tiny encoder, a training of seconds."""
        place, bucket = {"name": SECRET}, self.around.bucket
        spec = {
            "task": {"type": "classification"},
            "model": {"id": f"file://{ENCODER}"},
            "dataset": {"train": [f"s3://{bucket}/mood.csv"], "split": {"test": "0.2"}, "secretRef": place},
            "method": {"objective": "classification", "adapter": {"r": 4, "alpha": 8}},
            "training": {"epochs": 4, "learningRate": "1e-2", "batchSize": 16, "maxLength": 32, **training},
            "evaluation": {"gates": [{"metric": "accuracy", "min": "0.9"}]},
            "output": {"uri": f"s3://{bucket}/adapters/", "secretRef": place},
            "resources": {"cpu": "1", "memory": "2Gi"},
        }
        return self.apply({"apiVersion": GRAFT, "kind": "FineTuneJob", "metadata": {"name": name}, "spec": spec})

    def apply(self, item: Json) -> Json:
        """Apply an object of the team's."""
        return self.api.apply({**item, "metadata": {**item["metadata"], "namespace": self.namespace}}, "team")

    def get(self, kind: str, name: str) -> Json:
        """Read one of Graft's objects."""
        return self.api.get(GRAFT, kind, self.namespace, name)

    def status(self, kind: str, name: str) -> Json:
        """Read its status."""
        status: Json = self.get(kind, name).get("status", {})
        return status

    def pods(self, **labels: str) -> list[Json]:
        """Read pods of the namespace, by labels without their prefix."""
        wanted = {f"graft.dev/{name}": value for name, value in labels.items()}
        return self.api.list("v1", "Pod", self.namespace, wanted)

    def reach(self, kind: str, name: str, phase: str, *, never: tuple[str, ...] = ("Failed", "GatesFailed")) -> Json:
        """Wait until an object is in a phase; ended in one of `never`, it will not be."""

        def is_there() -> bool:
            now = self.status(kind, name).get("phase")
            assert now == phase or now not in never, self.tell(kind, name)
            return bool(now == phase)

        self.wait(is_there, f"{kind} {name} to be {phase}", lambda: self.tell(kind, name))
        return self.status(kind, name)

    def wait(self, done: Callable[[], bool], what: str, tell: Callable[[], str] = str) -> None:
        """Wait for something, and tell what is there instead."""
        try:
            until(done, PATIENCE_S, what)
        except BedError as error:
            raise AssertionError(f"{error}\n{tell()}") from error

    def tell(self, kind: str, name: str) -> str:
        """What somebody would look at who asks why."""
        status = json.dumps(self.status(kind, name), indent=1)
        pods = [
            {"pod": pod["metadata"]["name"], **{key: pod["status"].get(key) for key in ("phase", "containerStatuses")}}
            for pod in self.pods()
        ]
        events = [
            f"{event['involvedObject']['name']}: {event['reason']}: {event.get('message', '')}"
            for event in sorted(self.api.list("v1", "Event", self.namespace), key=_seen)
        ]
        return "\n".join([status, json.dumps(pods, indent=1), *events[-40:]])


def _seen(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


@dataclass
class Users:
    """Ask the service through the gateway all the time, each request by itself, and count what comes back."""

    team: Team
    many: int = 2
    pause_s: float = 0.05
    outcomes: Counter[str] = field(default_factory=Counter[str])
    """By status, or by what went wrong."""
    revisions: Counter[str] = field(default_factory=Counter[str])
    """Who answered."""

    def __post_init__(self) -> None:
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(self.many)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def failed(self) -> Counter[str]:
        """All that was not answered with 200."""
        return Counter({outcome: count for outcome, count in self.outcomes.items() if outcome != "200"})

    def ask(self, client: httpx.Client) -> httpx.Response:
        """Ask once."""
        around = self.team.around
        host = f"mood-{self.team.namespace}.{around.domain}"
        return client.post(f"{around.gateway}/v1/classify", json={"input": TEXT}, headers={"Host": host})

    def _ask(self) -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not self._is_over.wait(self.pause_s):
                try:
                    answer = self.ask(client)
                except httpx.TransportError as error:
                    self.outcomes[type(error).__name__] += 1
                    continue
                self.outcomes[str(answer.status_code)] += 1
                self.revisions[answer.headers.get("x-graft-revision", "nobody")] += answer.is_success
