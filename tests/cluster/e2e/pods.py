"""Small pods of the image that the harness brings."""

from typing import Any

__all__ = ["a_pod"]

Json = dict[str, Any]


def a_pod(*arguments: str, **spec: Any) -> Json:
    """A pod's spec that passes `restricted`, of the image the harness brings."""
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container = {
        "name": "main",
        "image": "localhost/answer:1",
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "securityContext": security,
    }
    user = {"runAsNonRoot": True, "runAsUser": 65535, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"automountServiceAccountToken": False, "securityContext": user, "containers": [container], **spec}
