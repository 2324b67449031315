"""The one error that data raise, and how long it may get."""

from collections.abc import Sequence

from graft_core.errors import InvalidInput
from graft_trainer.data.records import Problem

__all__ = ["MAX_EXAMPLES", "DatasetError"]

MAX_EXAMPLES = 20
"""Bad records that a report names; the count has them all. Twenty lines fit a termination message of 4 KiB."""

_SHOWN = 5


class DatasetError(InvalidInput):
    """The data must change: `reason` is InvalidDataset, EmptyDataset, DatasetLeak, DatasetChanged; `path` is file:line."""

    reason = "InvalidDataset"

    def __init__(
        self, message: str, *, path: str = "", reason: str | None = None, problems: Sequence[Problem] = ()
    ) -> None:
        super().__init__(message, path=path, reason=reason)
        self.problems = tuple(problems[:MAX_EXAMPLES])
        """The first bad records."""

    @classmethod
    def from_problems(cls, head: str, problems: Sequence[Problem], total: int) -> "DatasetError":
        """Name the first bad records and count the rest."""
        shown = "; ".join(str(problem) for problem in problems[:_SHOWN])
        more = f"; and {total - _SHOWN} more" if total > _SHOWN else ""
        first = problems[0]
        return cls(f"{head}: {shown}{more}", path=f"{first.source}:{first.line}", problems=problems)

    @classmethod
    def of_file(cls, source: str, reason: str, *, line: int = 0) -> "DatasetError":
        """Say that a file as a whole cannot be used."""
        problem = Problem(source, line, reason)
        return cls(str(problem), path=f"{source}:{line}" if line else source, problems=[problem])
