"""Ends of a run that have an exit class of their own, beside the errors of graft_core.errors."""

from graft_core.errors import GraftError

__all__ = ["BaseModelRefused", "Diverged", "OutOfMemory", "Preempted"]


class Diverged(GraftError):
    """The loss is no number any more, or runs away; nothing of it may be published."""

    reason = "Diverged"


class OutOfMemory(GraftError):
    """Even one record at a time does not fit."""

    reason = "OutOfMemory"


class BaseModelRefused(GraftError):
    """The base model is not the one that was checked, or not one that may be used."""

    reason = "ModelChanged"


class Preempted(GraftError):
    """SIGTERM: what was done is saved, another run goes on from there."""

    reason = "Preempted"
