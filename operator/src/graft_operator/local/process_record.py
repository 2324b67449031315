"""What is remembered of any supervised process, whatever it is for."""

from abc import abstractmethod

from pydantic import BaseModel, ConfigDict

__all__ = ["ProcessRecord"]


class ProcessRecord(BaseModel):
    """One process, as the database keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: str
    """Of the object that it belongs to."""
    owner: str
    """namespace/name of that object, for people."""
    attempt: int = 0
    """Counts starts; the first is 1."""
    not_before: str
    """End of the back-off."""
    memory_bytes: int | None = None
    """Limit; over it the group is killed."""
    gpus: int = 0
    pid: int = 0
    """Of the supervisor; 0: not started."""
    started: float = 0.0
    """Start time of `pid`."""
    version: int = 1
    """Resource version."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Key of the record."""
