"""What watches have told: which objects there are, whose children are whose, who waits for whom. Only ever a reason for a pass.

What is kept of an object is a line. Its body is kept only from its event to the pass that the event causes, and only where no pass has seen
or written a newer one (docs/adr/0018); a pass reads all else anew.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Final

from graft_core.api.v1alpha1.finetunejob import FineTuneJobPhase
from graft_core.api.v1alpha1.modelrelease import ModelReleasePhase
from graft_core.api.v1alpha1.names import KIND_FINETUNEJOB, KIND_MODELRELEASE, LABEL_UID
from graft_core.clock import from_rfc3339
from graft_operator.ports import Json
from graft_operator.reconcile.kube.parts import number, part, parts, text

__all__ = ["Directory", "Key", "Known", "is_settled", "key_of"]

_ENDED: Final = frozenset({"Complete", "Failed"})
MAX_BODIES: Final = 1000
"""Bodies that wait for their pass; passes beyond that read."""
_PHASES: Final = frozenset({*FineTuneJobPhase, *ModelReleasePhase})


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Kind, namespace and name of an object of Graft's own."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Known:
    """A line about an object."""

    uid: str
    version: str
    """resourceVersion that was seen last."""
    phase: str
    waits_for: str
    """Name of the FineTuneJob that a release serves, or empty."""
    is_settled: bool
    ended_at: float | None = None
    """Seconds since the epoch, of a settled one that says it."""
    ttl_s: float | None = None
    """How long it stays after that; None: until somebody deletes it."""


class Directory:
    """Objects of Graft's own by key and uid."""

    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}
        self._by_uid: dict[str, Key] = {}
        self._waiting: defaultdict[tuple[str, str], set[Key]] = defaultdict(set)
        self._written: dict[Key, tuple[str, ...]] = {}
        self._bodies: dict[Key, Json] = {}
        self._floors: dict[Key, int] = {}
        """Newest version that a pass has seen or written: no body older than that is handed on."""

    def note(self, body: Json) -> tuple[Key, Known | None, Known]:
        """Take an object's line over.

        Args:
            body: The object.

        Returns:
            Its key, what was known before, and what is known now.
        """
        key, now = key_of(body), _line(body)
        before = self._known.get(key)
        if before is not None:
            self._unlink(key, before)
        self._known[key] = now
        self._by_uid[now.uid] = key
        if now.waits_for:
            self._waiting[key.namespace, now.waits_for].add(key)
        return key, before, now

    def drop(self, key: Key, uid: str) -> bool:
        """Forget an object that is gone; False where another one has its name by now."""
        known = self._known.get(key)
        self._by_uid.pop(uid, None)
        if known is None or known.uid != uid:
            return False
        self._unlink(key, known)
        del self._known[key]
        for kept in (self._written, self._bodies, self._floors):
            kept.pop(key, None)
        return True

    def hand_on(self, key: Key, body: Json) -> None:
        """Keep an object's body for the pass that its event causes."""
        self._bodies.pop(key, None)
        if len(self._bodies) < MAX_BODIES:
            # Who manages which field is half of an object, and no pass asks.
            meta = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
            self._bodies[key] = {**body, "metadata": meta}

    def take_body(self, key: Key) -> Json | None:
        """Take the body that was handed on; None where there is none, or where a pass knows better."""
        body = self._bodies.pop(key, None)
        if body is None:
            return None
        version = str(body["metadata"]["resourceVersion"])
        # Only within one resource may versions be compared, and only where they are numbers.
        return body if version.isdigit() and int(version) >= self._floors.get(key, 0) else None

    def drop_bodies(self) -> None:
        """Have every pass read its object: what was told before this replica led may be old."""
        self._bodies.clear()

    def saw(self, key: Key, version: str) -> None:
        """Note the version that a pass goes by."""
        if version.isdigit():
            self._floors[key] = max(int(version), self._floors.get(key, 0))

    def wrote(self, key: Key, version: str) -> None:
        """Note the version that a write of our own made; the watch will tell of it, and it is no news."""
        self._written[key] = (*self._written.get(key, ())[-2:], version)
        self.saw(key, version)

    def is_own_echo(self, key: Key, version: str) -> bool:
        """Say whether this version is one that our own last writes made."""
        return version in self._written.get(key, ())

    def owner_of(self, child: Json) -> Key | None:
        """Return whose child it is, by its label."""
        return self._by_uid.get(text(child, "metadata", "labels", LABEL_UID))

    def waiting_for(self, job: Key) -> frozenset[Key]:
        """Return the releases that serve this job's adapter."""
        return frozenset(self._waiting.get((job.namespace, job.name), ()))

    def find(self, key: Key) -> Known | None:
        """Return what is known of an object."""
        return self._known.get(key)

    def items(self) -> list[tuple[Key, Known]]:
        """Return all that is known."""
        return list(self._known.items())

    def phases(self) -> Counter[tuple[str, str]]:
        """Count objects by kind and phase."""
        return Counter((key.kind, known.phase) for key, known in self._known.items())

    def _unlink(self, key: Key, known: Known) -> None:
        self._by_uid.pop(known.uid, None)
        if known.waits_for:
            waiting = self._waiting[key.namespace, known.waits_for]
            waiting.discard(key)
            if not waiting:
                del self._waiting[key.namespace, known.waits_for]


def key_of(body: Json) -> Key:
    """Return the key of an object of Graft's own."""
    meta = body["metadata"]
    return Key(str(body["kind"]), str(meta["namespace"]), str(meta["name"]))


def is_settled(body: Json) -> bool:
    """Say whether nothing but its TTL can change an object any more: a job that ended, and is not being deleted."""
    return (
        body["kind"] == KIND_FINETUNEJOB
        and "deletionTimestamp" not in body["metadata"]
        and number(body, "status", "observedGeneration") == number(body, "metadata", "generation")
        and any(c.get("type") in _ENDED and c.get("status") == "True" for c in parts(body, "status", "conditions"))
    )


def _line(body: Json) -> Known:
    meta = body["metadata"]
    phase = text(body, "status", "phase") or "Pending"
    ended_at, ttl_s = _end_of(body) if is_settled(body) else (None, None)
    return Known(
        uid=str(meta["uid"]),
        version=str(meta["resourceVersion"]),
        phase=phase if phase in _PHASES else "Other",
        waits_for=text(body, "spec", "model", "fineTuneJobRef", "name") if body["kind"] == KIND_MODELRELEASE else "",
        is_settled=is_settled(body),
        ended_at=ended_at,
        ttl_s=ttl_s,
    )


def _end_of(body: Json) -> tuple[float | None, float | None]:
    ttl = part(body, "spec", "runtime").get("ttlSecondsAfterFinished")
    try:
        ended = from_rfc3339(text(body, "status", "finishedAt"))
    except ValueError:
        return None, None
    return ended.timestamp(), float(ttl) if isinstance(ttl, int) else None
