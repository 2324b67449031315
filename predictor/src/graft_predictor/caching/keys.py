"""What makes two requests equal.

The key is SHA-256 over canonical JSON of, and only of, what the answer follows from:

    fingerprint   revision, adapter digest, task, template hash, engine arguments, guardrails: another value, another cache
    tenant        entries never cross tenants; an absent header is a tenant of its own
    messages      as rendered, so what the client may vary without effect (role aliases, a JSON object's spaces) does not split it
    sampling      max_tokens, temperature, top_p, seed, stop, with defaults filled in

`stream` is not in it: an answer is the same, however it is sent.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import orjson

from graft_core.contracts.adapter_manifest import AdapterManifest
from graft_core.contracts.predictor_config import PredictorConfig
from graft_predictor.engines.base import GenerateRequest

__all__ = ["answer_key", "fingerprint"]

_VERSION: Final = 1
"""Raised when an entry of the same key would mean something else."""


def fingerprint(config: PredictorConfig, manifest: AdapterManifest) -> str:
    """Hash what every answer of this process follows from."""
    parts: Sequence[object] = (
        _VERSION,
        config.release.namespace,
        config.release.name,
        config.revision,
        config.adapter.digest,
        manifest.template_sha256,
        manifest.task.model_dump(mode="json"),
        config.engine.model_dump(mode="json"),
        config.guardrails.model_dump(mode="json"),
    )
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def answer_key(identity: str, tenant: str | None, request: GenerateRequest) -> bytes:
    """Compute the key of a request.

    Args:
        identity: As fingerprint returns it.
        tenant: As the tenant header says; None where there is none.
        request: Rendered messages and sampling.

    Returns:
        32 bytes.
    """
    sampling = request.sampling
    # Without a temperature nothing is drawn: seed and nucleus have no effect, so they do not split the entries.
    drawn = [sampling.temperature, sampling.top_p, sampling.seed] if sampling.temperature > 0 else None
    parts = [
        identity,
        tenant,
        [[message.role, message.content] for message in request.messages],
        [sampling.max_tokens, drawn, list(sampling.stop)],
    ]
    return hashlib.sha256(orjson.dumps(parts)).digest()
