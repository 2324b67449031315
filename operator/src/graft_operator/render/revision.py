"""What makes a revision: everything an arm is given, so that a change reaches the service only through a rollout.

Fields at their default are left out of the hash: a version of Graft that adds a field must not roll out every service again.
"""

import hashlib
import json
from typing import Final

from graft_core.api.v1alpha1.modelrelease import ModelReleaseSpec

__all__ = ["REVISION_LENGTH", "revision_of"]

REVISION_LENGTH: Final = 10
"""Hex digits of a revision: 40 bits, ample for the revisions of one service and short enough for a label."""

_PARTS: Final = frozenset({"engine", "predictor", "cache", "guardrails", "routing", "request_log", "attempt"})


def revision_of(spec: ModelReleaseSpec, digest: str) -> str:
    """Hash the model's digest with engine, predictor, cache, guardrails, routing, requestLog and attempt."""
    parts = spec.model_dump(mode="json", by_alias=True, include=set(_PARTS), exclude_defaults=True)
    canonical = json.dumps({"model": digest, **parts}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:REVISION_LENGTH]
