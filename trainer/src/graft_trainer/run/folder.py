"""The run folder: what lies where, for the child and for whoever watches it.

    request.json                 the caller's
    progress.jsonl               appended while the child runs
    report.json                  once, atomically, at the end
    work/train.log               scrubbed JSON log of all attempts; published with the adapter
    work/attempt.json            when this attempt began and what it went on from
    work/checkpoints/checkpoint-N/   complete checkpoints, see methods.checkpoints
    work/trained/                the final adapter, history.json beside it; there only when training is done
    work/evaluation.json         metrics, gates and examples; there only when evaluation is done
    work/staged/                 the artifact as it will be uploaded

Nothing else is kept between attempts.
"""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run; stages find each other's results here, so that a killed run goes on where it was."""

    root: Path

    def make(self) -> None:
        """Create what is missing."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)

    @property
    def progress(self) -> Path:
        """Lines of graft_core.contracts.train_report.Progress."""
        return self.root / "progress.jsonl"

    @property
    def report(self) -> Path:
        """The TrainReport."""
        return self.root / "report.json"

    @property
    def work(self) -> Path:
        """The child's own."""
        return self.root / "work"

    @property
    def log(self) -> Path:
        """The log that is published."""
        return self.work / "train.log"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints."""
        return self.work / "checkpoints"

    @property
    def trained(self) -> Path:
        """The final adapter."""
        return self.work / "trained"

    @property
    def evaluation(self) -> Path:
        """What the evaluation found."""
        return self.work / "evaluation.json"

    @property
    def staged(self) -> Path:
        """The artifact's files."""
        return self.work / "staged"
