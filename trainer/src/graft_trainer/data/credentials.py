"""Which credentials go with which place: spec.dataset.secretRef for the data, spec.output.secretRef for everything else.

On a machine of one's own both are the process's environment. In a pod the Secrets are mounted as folders, which the kubelet renews when a
Secret changes, and as variables, which it does not; so files win, and they are read anew for each store that is opened.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from graft_core.contracts.pod import DATASET_CREDENTIALS, S3_KEYS, S3_NEEDED_KEYS, SECRETS_DIR

__all__ = ["dataset_env", "output_env"]


def output_env(environ: Mapping[str, str] | None = None, secrets: Path = Path(SECRETS_DIR)) -> dict[str, str]:
    """Return the variables that `open_store` reads, for the output."""
    return {**(os.environ if environ is None else environ), **_read(secrets / "output")}


def dataset_env(environ: Mapping[str, str] | None = None, secrets: Path = Path(SECRETS_DIR)) -> dict[str, str]:
    """Return the variables that `open_store` reads, for the data; the output's where the data has no Secret of its own."""
    given = os.environ if environ is None else environ
    named = {key: given[name] for key in S3_KEYS if (name := DATASET_CREDENTIALS + key) in given}
    found = {**named, **_read(secrets / "dataset")}
    if not set(S3_NEEDED_KEYS) <= set(found):
        return output_env(given, secrets)
    # A session token goes with its own keys only.
    rest = {name: value for name, value in given.items() if name not in {*S3_NEEDED_KEYS, "AWS_SESSION_TOKEN"}}
    return {**rest, **found}


def _read(folder: Path) -> dict[str, str]:
    paths = {key: folder / key for key in S3_KEYS}
    return {key: path.read_text(encoding="utf-8").strip() for key, path in paths.items() if path.is_file()}
