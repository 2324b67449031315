"""What the API server's audit log says: who asked for what, and when each answer was complete."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = ["Audit", "Call", "percentile"]

READS = ("get", "list")
WRITES = ("create", "update", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was answered."""

    agent: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    begun: float
    done: float
    status: int


class Audit:
    """Reads on from where it read last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def skip(self) -> None:
        """Leave out what is there already."""
        self._offset = self._path.stat().st_size

    def read(self) -> list[Call]:
        """Return what came since it was read last."""
        return list(self._read())

    def _read(self) -> Iterator[Call]:
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                event = json.loads(line)
                if event["stage"] == "ResponseComplete" or (event["stage"] == "ResponseStarted"):
                    yield _call(event)


def _call(event: dict[str, Any]) -> Call:
    where = event.get("objectRef") or {}
    return Call(
        agent=event.get("userAgent", ""),
        verb=event["verb"],
        resource=where.get("resource", ""),
        subresource=where.get("subresource", ""),
        namespace=where.get("namespace", ""),
        name=where.get("name", ""),
        begun=_seconds(event["requestReceivedTimestamp"]),
        done=_seconds(event["stageTimestamp"]),
        status=int((event.get("responseStatus") or {}).get("code", 0)),
    )


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def is_operators(call: Call) -> bool:
    """Say whether the operator asked: its own client, or kopf's watches."""
    return not call.agent.startswith(("graft-bench", "python-httpx", "kube-"))


def reads(calls: Sequence[Call]) -> int:
    """Count what the operator read; watches, discovery's documents among the reads."""
    return sum(1 for call in calls if is_operators(call) and call.verb in READS)


def writes(calls: Sequence[Call], *, with_events: bool = True) -> Counter[str]:
    """Count what the operator wrote, by verb and resource; the Lease is everybody's."""
    return Counter(
        f"{call.verb} {call.resource}{'/' if call.subresource else ''}{call.subresource}"
        for call in calls
        if is_operators(call)
        and call.verb in WRITES
        and call.resource != "leases"
        and (with_events or call.resource != "events")
    )


def job_delays(calls: Sequence[Call], owners: Mapping[str, str]) -> dict[str, float]:
    """Return by FineTuneJob the seconds from its creation's answer to that of its first Job's."""
    made = {
        call.name: call.done
        for call in calls
        if (call.verb, call.resource, call.subresource, call.status) == ("create", "finetunejobs", "", 201)
    }
    first: dict[str, float] = {}
    for call in calls:
        owner = owners.get(call.name, "")
        if (call.verb, call.resource, call.status) == ("create", "jobs", 201) and owner in made:
            first[owner] = min(first.get(owner, call.done), call.done)
    return {name: at - made[name] for name, at in first.items()}


def writes_before_job(calls: Sequence[Call], owners: Mapping[str, str]) -> Counter[int]:
    """Count FineTuneJobs by how many writes the operator needed until their first Job was there, that one included."""
    found: Counter[str] = Counter()
    done: set[str] = set()
    roots = {owner: owner for owner in owners.values()}
    for call in sorted(calls, key=lambda call: call.done):
        if not is_operators(call) or call.verb not in WRITES or call.resource in {"leases", "events"}:
            continue
        owner = roots.get(call.name) or owners.get(call.name) or _owner_of(call.name, roots)
        if owner is not None and owner not in done:
            found[owner] += 1
            if (call.verb, call.resource) == ("create", "jobs"):
                done.add(owner)
    return Counter(found[owner] for owner in done)


def _owner_of(name: str, roots: Mapping[str, str]) -> str | None:
    """A request is named after its owner: `<owner>-request-<hash>`, or the like."""
    parts = name.split("-")
    return next((found for end in range(len(parts), 0, -1) if (found := roots.get("-".join(parts[:end])))), None)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]
