"""What the process is told on its command line; everything about the service itself is in PredictorConfig."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.errors import InvalidInput, NotSupported

__all__ = ["Settings", "check_supported", "read_config"]

MAX_CONFIG_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to listen, where to keep things, and limits."""

    host: str
    port: int
    cache_dir: Path
    """Copies of adapters and the exact cache; made if absent."""
    base_dir: Path | None = None
    """Where base models from the hub are kept; None: the hub client's own cache."""
    grace_s: float = 30.0
    """Longest that open requests are waited for after SIGTERM."""
    drain_s: float = 1.0
    """Between losing readiness and closing the listener after SIGTERM, so that whoever balances load notices first."""
    max_body_bytes: int = 4 * 1024 * 1024
    """Largest request; more is 413, cut off while it is read."""
    read_timeout_s: float = 20.0
    """Longest that headers, or a body, may take to arrive."""


def read_config(path: Path) -> PredictorConfig:
    """Read the configuration file; raises NotSupported where it asks for something that this version does not have.

    Args:
        path: JSON as PredictorConfig.to_json writes it.

    Returns:
        The configuration.

    Raises:
        InvalidInput: It is missing or malformed; all faults with their paths.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise InvalidInput(f"--config {str(path)!r}: {err.strerror or type(err).__name__}", path="--config") from err
    if len(data) > MAX_CONFIG_BYTES:
        raise InvalidInput(f"--config {str(path)!r} has {len(data)} bytes, at most {MAX_CONFIG_BYTES}", path="--config")
    try:
        config = PredictorConfig.model_validate_json(data)
    except ValidationError as err:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']}"
            for fault in err.errors(include_input=False, include_url=False)
        )
        raise InvalidInput(f"--config {str(path)!r}: {faults}", path="--config") from err
    check_supported(config)
    return config


def check_supported(config: PredictorConfig) -> None:
    """Refuse by name what would otherwise be ignored.

    Args:
        config: Valid by its form.

    Raises:
        NotSupported: With the field's path.
    """
    log = config.request_log
    unsupported: tuple[tuple[bool, str, str], ...] = (
        (config.cache.semantic is not None, "cache.semantic", "remove it"),
        (
            config.cache.exact is not None and config.cache.exact.redis is not None,
            "cache.exact.redis",
            "remove it to keep the tier in a SQLite file",
        ),
        (
            log is not None and log.store_text and log.redact_pii,
            "requestLog.redactPii with storeText",
            "set one of them to false",
        ),
        (log is not None and log.secret_ref is not None, "requestLog.secretRef", "pass credentials in the environment"),
    )
    for is_set, field, advice in unsupported:
        if is_set:
            raise NotSupported(f"{field} is not supported in this version; {advice}", path=field.partition(" ")[0])
