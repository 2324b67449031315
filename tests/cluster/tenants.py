"""Namespaces and users of a test: each test has a namespace of its own, and asks as somebody with the rights it names."""

from collections.abc import Mapping, Sequence
from uuid import uuid4

from tests.cluster.api import Access, Api, Json

__all__ = ["RESTRICTED", "default_account", "make_namespace", "make_user"]

RBAC_GROUP = "rbac.authorization.k8s.io"
RBAC = f"{RBAC_GROUP}/v1"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
"""Labels of a namespace that enforces what Graft promises for its pods."""
TOKEN_S = 3600
"""Longer than any test."""


def make_namespace(api: Api, prefix: str = "t", labels: Mapping[str, str] | None = None) -> str:
    """Make a namespace of a fresh name, in which pods can be made.

    Without the controller-manager nothing ends a namespace or makes its `default` service account; so the account is made here,
    and the namespace is left: it goes with the control plane.

    Args:
        api: Of an administrator.
        prefix: Of the name.
        labels: Such as `pod-security.kubernetes.io/enforce: restricted`.

    Returns:
        Its name.
    """
    name = f"{prefix}-{uuid4().hex[:8]}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}})
    api.apply(default_account(name))
    return name


def default_account(namespace: str) -> Json:
    """The service account that pods of a namespace run as, if they name none."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}}


def make_user(api: Api, namespace: str, name: str, rules: Sequence[Json], *, cluster_wide: bool = False) -> Access:
    """Make a service account with just these rights.

    Args:
        api: Of an administrator.
        namespace: Of the account, and of its rights.
        name: Of the account, its role and its binding.
        rules: As in a Role.
        cluster_wide: Rights in all namespaces.

    Returns:
        Access with a token of the account's own.
    """
    account: Json = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    api.apply(account)
    prefix = "Cluster" if cluster_wide else ""
    metadata = {"name": f"{namespace}-{name}"} if cluster_wide else {"name": name, "namespace": namespace}
    api.apply({"apiVersion": RBAC, "kind": f"{prefix}Role", "metadata": metadata, "rules": list(rules)})
    api.apply(
        {
            "apiVersion": RBAC,
            "kind": f"{prefix}RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC_GROUP, "kind": f"{prefix}Role", "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
    )
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": TOKEN_S}}
    token: str = api.request("POST", f"{api.path(account)}/token", request)["status"]["token"]
    return Access(api.access.server, api.access.ca, token)
