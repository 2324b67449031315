"""What a trainer's pod and the operator agree on beside the messages themselves: places, ports and names.

The operator renders a pod with these (`graft_operator.render.kube.pod`), `graft-trainer … --pod` finds what it needs by them.
"""

from typing import Final

__all__ = [
    "CONTAINER",
    "DATASET_CREDENTIALS",
    "MAX_TERMINATION_BYTES",
    "OUTPUT_CREDENTIALS",
    "PINNED_ENV",
    "PROGRESS_PATH",
    "PROGRESS_PORT",
    "REPORT_FILE",
    "REQUEST_FILE",
    "RUN_DIR",
    "S3_KEYS",
    "S3_NEEDED_KEYS",
    "SECRETS_DIR",
    "TERMINATION_FILE",
    "WORK_DIR",
    "run_prefix",
]

CONTAINER: Final = "trainer"
"""The one container of a trainer's pod; podFailurePolicy names it."""
REQUEST_FILE: Final = "/graft/request/request.json"
"""The TrainRequest, mounted from its ConfigMap."""
PINNED_ENV: Final = "GRAFT_PINNED"
"""Variable with the `Pinned` of a train child as JSON: both children share one request, and only the second one is pinned."""
WORK_DIR: Final = "/graft/work"
"""The only large folder that may be written: run folder and caches; gone with the pod."""
RUN_DIR: Final = f"{WORK_DIR}/run"
"""The run folder."""
TERMINATION_FILE: Final = "/dev/termination-log"
"""Where the kubelet picks up the last words of a container."""
MAX_TERMINATION_BYTES: Final = 4096
"""What the kubelet keeps of them; more is cut without regard for JSON."""
PROGRESS_PORT: Final = 8081
"""Port of the trainer's small HTTP server."""
PROGRESS_PATH: Final = "/progress"
"""Its one answer: the newest `Progress` as JSON, 204 before there is one."""
REPORT_FILE: Final = "report.json"
"""The whole TrainReport, below `run_prefix`."""

SECRETS_DIR: Final = "/graft/secrets"
"""Folder of the mounted Secrets, one folder each; the kubelet renews the files when a Secret changes."""
OUTPUT_CREDENTIALS: Final = ""
"""Prefix of the variables with the credentials of spec.output.secretRef."""
DATASET_CREDENTIALS: Final = "GRAFT_DATASET_"
"""Prefix of the variables with the credentials of spec.dataset.secretRef; without that, the output's are used."""
S3_NEEDED_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""Keys that a Secret for s3:// must have."""
S3_KEYS: Final = (*S3_NEEDED_KEYS, "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL")
"""Keys that are read of it, from its mounted folder; others stay where they are."""


def run_prefix(output_prefix: str, uid: str, role: str) -> str:
    """Say where a child leaves what must outlive its pod: checkpoints and report, `<output prefix>runs/<uid>/<role>/`.

    Args:
        output_prefix: `TrainRequest.output_prefix`.
        uid: The FineTuneJob's.
        role: check or train.

    Returns:
        A URI with a slash at its end.
    """
    return f"{output_prefix.rstrip('/')}/runs/{uid}/{role}/"
