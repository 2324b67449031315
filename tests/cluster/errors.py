"""What can keep the bed from being made."""

__all__ = ["BedError", "NothingToRun"]


class BedError(Exception):
    """A part of the test cluster could not be built or started; the message says what to do."""


class NothingToRun(BedError):
    """This machine has neither ready binaries nor Go to build them with: tests are skipped, loudly."""
