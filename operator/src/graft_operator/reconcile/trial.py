"""The candidate while a pass decides on it: fields that may be set, read from `status.candidate` and turned back into it once, at the end."""

from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Self

from graft_core.api.base import filled
from graft_core.api.v1alpha1.modelrelease import CandidateStatus

__all__ = ["Trial"]


@dataclass(slots=True)
class Trial:
    """`CandidateStatus`, field by field and in its order; said there what each is."""

    revision: str
    digest: str
    weight: int
    step: int
    since: str
    ready_at: str | None = None
    unready_since: str | None = None
    weight_since: str | None = None
    data_missing_since: str | None = None
    step_since: str | None = None
    paused_since: str | None = None
    promoting: bool = False

    @classmethod
    def of(cls, status: CandidateStatus) -> Self:
        """Take the candidate of a status up."""
        return cls(*_read(status.__dict__))

    def to_status(self, old: CandidateStatus | None) -> CandidateStatus:
        """Return it as a status holds it; the old object where nothing changed."""
        fields: dict[str, object] = {
            "revision": self.revision,
            "digest": self.digest,
            "weight": self.weight,
            "step": self.step,
            "since": self.since,
            "ready_at": self.ready_at,
            "unready_since": self.unready_since,
            "weight_since": self.weight_since,
            "data_missing_since": self.data_missing_since,
            "step_since": self.step_since,
            "paused_since": self.paused_since,
            "promoting": self.promoting,
        }
        return old if old is not None and vars(old) == fields else filled(CandidateStatus, fields, _FIELDS)


_FIELDS: Final = set(CandidateStatus.model_fields)
_read: Final = itemgetter(*CandidateStatus.model_fields)
