"""What the arms count, read from their own /metrics by revision, and how much it grew since a moment.

A window begins with the first scrape at or after the moment that was asked for. Counters that fall (a predictor that was started again)
go on from where they were. The window's first figures are kept on disk with the attempt they are of, so that a `graft up` that is
started again goes on with the same window if the arm's process is the same, and begins the window anew if it is not: a window is never
longer than what was counted. Feedback for one revision may be counted by the other arm, so figures are summed over arms by their label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import aiohttp
from pydantic import BaseModel, ConfigDict

from graft_core.clock import Clock, from_rfc3339, to_rfc3339
from graft_core.telemetry.logs import get_log
from graft_operator.local.database import Database
from graft_operator.reconcile.figures import Counts, add, has_fallen, parse_figures, subtract, to_window
from graft_operator.reconcile.observed import Window

__all__ = ["ArmSource", "Metrics"]

_LOG = get_log(__name__)
_AREA = "windows"

TIMEOUT_S = 3.0
"""A scrape that takes longer is no scrape."""


@dataclass(frozen=True)
class ArmSource:
    """Where to scrape one arm."""

    revision: str
    attempt: int
    """Tells the arm's processes apart."""
    port: int


@dataclass
class _Reading:
    """The latest scrape of one arm's process."""

    origin: int
    """Attempt of the first scrape since `graft up` began."""
    attempt: int
    at: datetime
    raw: dict[str, Counts]
    carried: dict[str, Counts] = field(default_factory=dict[str, Counts])
    """What earlier processes of the arm had counted, by label."""

    def total(self, revision: str) -> Counts:
        """Sum up what this arm counted for a revision."""
        return add(self.carried.get(revision, {}), self.raw.get(revision, {}))


class _ArmBase(BaseModel):
    model_config = ConfigDict(extra="forbid")

    attempt: int
    raw: Counts
    total: Counts


class _Base(BaseModel):
    """The first figures of a window."""

    model_config = ConfigDict(extra="forbid")

    since: str
    at: str
    arms: dict[str, _ArmBase]
    is_loaded: bool = False


class Metrics:
    """Scrapes and windows of all releases."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock
        self._readings: dict[tuple[str, str], _Reading] = {}
        self._bases = {key: _loaded(_Base.model_validate(body)) for key, body in database.records(_AREA).items()}
        self._session: aiohttp.ClientSession | None = None
        self._silent: set[tuple[str, str]] = set()
        """Arms (release uid, revision) whose last scrape failed."""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def scrape(self, uid: str, sources: Sequence[ArmSource]) -> None:
        """Read the arms of one release; one that does not answer keeps its last figures, which grow stale."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        for source in sources:
            try:
                async with self._session.get(f"http://127.0.0.1:{source.port}/metrics") as answer:
                    answer.raise_for_status()
                    text = await answer.text()
                self.take(uid, source, parse_figures(text))
                self._silent.discard((uid, source.revision))
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                if (uid, source.revision) not in self._silent:  # once, not with every scrape while the arm is down
                    self._silent.add((uid, source.revision))
                    _LOG.warning("scrape_failed", release=uid, revision=source.revision, reason=type(error).__name__)

    def take(self, uid: str, source: ArmSource, figures: dict[str, Counts]) -> None:
        """Take one scrape in."""
        old = self._readings.get((uid, source.revision))
        now = self._clock.now()
        if old is None:
            self._readings[(uid, source.revision)] = _Reading(source.attempt, source.attempt, now, figures)
            return
        carried = old.carried
        if old.attempt != source.attempt or has_fallen(old.raw, figures):
            labels = set(old.carried) | set(old.raw)
            carried = {label: old.total(label) for label in labels}
        self._readings[(uid, source.revision)] = _Reading(old.origin, source.attempt, now, figures, carried)

    def window(self, uid: str, revision: str, since: datetime) -> Window | None:
        """Say how much a revision's figures grew.

        Args:
            uid: The release's.
            revision: The arm's.
            since: Moment that the window is to begin at.

        Returns:
            The window; None while no scrape is at or after its beginning.
        """
        reading = self._readings.get((uid, revision))
        if reading is None:
            return None
        key, wanted = f"{uid}/{revision}", to_rfc3339(since)
        base = self._bases.get(key)
        if base is not None and base.is_loaded:
            base = self._check_loaded(uid, revision, base, reading)
        if base is None or base.since != wanted:
            if reading.at < since:
                return None
            base = self._begin(uid, revision, wanted)
        grown: Counts = {}
        for (owner, arm), one in self._readings.items():
            if owner == uid:
                first = base.arms.get(arm)
                grown = add(grown, subtract(one.total(revision), first.total if first is not None else {}))
        return to_window(revision, from_rfc3339(base.at), reading.at, grown)

    def has_window(self, uid: str, revision: str, since: datetime) -> bool:
        """Say whether the window has begun."""
        base = self._bases.get(f"{uid}/{revision}")
        return base is not None and base.since == to_rfc3339(since)

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        self._readings = {key: value for key, value in self._readings.items() if key[0] != uid}
        self._silent = {key for key in self._silent if key[0] != uid}
        for key in [key for key in self._bases if key.startswith(f"{uid}/")]:
            del self._bases[key]
            self._db.drop_record(_AREA, key)

    def _begin(self, uid: str, revision: str, since: str) -> _Base:
        mine = {arm: one for (owner, arm), one in self._readings.items() if owner == uid}
        arms = {
            a: _ArmBase(attempt=r.attempt, raw=r.raw.get(revision, {}), total=r.total(revision))
            for a, r in mine.items()
        }
        base = _Base(since=since, at=to_rfc3339(mine[revision].at), arms=arms)
        self._bases[f"{uid}/{revision}"] = base
        self._db.put_record(_AREA, f"{uid}/{revision}", base.model_dump(mode="json", exclude={"is_loaded"}))
        return base

    def _check_loaded(self, uid: str, revision: str, base: _Base, reading: _Reading) -> _Base | None:
        """Bring figures of an earlier `graft up` in line with this one's, or give the window up."""
        own = base.arms.get(revision)
        if own is None or own.attempt != reading.origin:
            return None
        arms: dict[str, _ArmBase] = {}
        for arm, first in base.arms.items():
            now = self._readings.get((uid, arm))
            if now is not None and now.origin == first.attempt:
                arms[arm] = first.model_copy(update={"total": first.raw})
        checked = base.model_copy(update={"arms": arms, "is_loaded": False})
        self._bases[f"{uid}/{revision}"] = checked
        return checked


def _loaded(base: _Base) -> _Base:
    return base.model_copy(update={"is_loaded": True})
