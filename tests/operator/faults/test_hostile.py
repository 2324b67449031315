"""Hostile objects on a real API server, under the chart's policies and before a real operator: each is refused in words that name the field.

By the schema, a CEL rule or a policy at the door; or by a condition. The operator makes nothing of them and writes nowhere else, by the audit
log, and its own log shows no traceback.
"""

import contextlib
import json
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.operator.faults.hostile import HOSTILE, Hostile
from tests.operator.handlers.on_api_server import RULES, operator_process

if TYPE_CHECKING:
    from tests.cluster.api import Api
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.fixtures import StartPlane

CHILDREN = (
    ("batch/v1", "Job"),
    ("v1", "ConfigMap"),
    ("serving.kserve.io/v1beta1", "InferenceService"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
)
HELD_BACK = {"Accepted": {"False"}, "ArtifactVerified": {"False", "Unknown"}, "Degraded": {"True"}}
"""Conditions that say no, and how."""
PATIENCE_S = 180
SETTINGS = {
    "GRAFT_ALLOWED_LICENSES": "apache-2.0",
    "GRAFT_ALLOWED_NODE_SELECTOR_KEYS": "gpu",
    "GRAFT_ALLOWED_TOLERATION_KEYS": "gpu",
    "GRAFT_DEPLOYMENT_MODE": "Standard",
}


def test_there_are_two_hundred_of_them_and_no_two_alike() -> None:
    assert len(HOSTILE) >= 200
    assert len({one.name for one in HOSTILE}) == len(HOSTILE)
    assert len({json.dumps([one.body, one.change], sort_keys=True) for one in HOSTILE}) == len(HOSTILE)


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_each_is_refused_by_name_and_nothing_is_made_of_them(own_plane: "StartPlane", tmp_path: Path) -> None:
    from tests.cluster.api import Api
    from tests.cluster.errors import BedError
    from tests.cluster.processes import until
    from tests.cluster.tenants import make_namespace, make_user
    from tests.delivery.test_policies import ALL

    plane = started(own_plane)
    namespace = make_namespace(plane.api)
    operator = make_user(plane.api, "graft-system", "hostile-operator", rules(), cluster_wide=True)
    before = {kind: len(plane.api.list(*kind)) for kind in CHILDREN}
    with Api(make_user(plane.api, namespace, "tenant", ALL)) as tenant:
        guard(plane, tenant, namespace, tmp_path)
        let_in, unnamed = knock(tenant, namespace)
    with operator_process(operator, tmp_path, "operator", POD_NAMESPACE="graft-system", **SETTINGS) as process:
        held: dict[str, str] = {}

        def is_all_held() -> bool:
            Event().wait(1)  # listing everything is work for the server
            held.update(said_of(plane.api, namespace, {name for name in let_in if name not in held}))
            return len(held) == len(let_in)

        with contextlib.suppress(BedError):  # those that are missing are named below
            until(is_all_held, PATIENCE_S, "a condition on each object")
        log = process.log
        assert process.process.poll() is None
    unheld = [one.name for name, one in let_in.items() if name not in held]
    unnamed |= {one.name: held[name] for name, one in let_in.items() if name in held and one.field not in held[name]}
    assert unheld == []
    assert unnamed == {}
    assert "Traceback" not in log
    assert {kind: len(plane.api.list(*kind)) for kind in CHILDREN} == before
    assert written_by(plane, "hostile-operator") <= {namespace, "graft-system"}


def started(own_plane: "StartPlane") -> "ControlPlane":
    from tests.cluster.crds import GATEWAY_API, KSERVE, install, our_crds
    from tests.delivery.kubectl import ensure_namespace

    plane = own_plane(audit=True)
    install(plane.api, [*our_crds(), *GATEWAY_API.crds(), *KSERVE.crds()])
    ensure_namespace(plane.api, "graft-system")
    return plane


def guard(plane: "ControlPlane", tenant: "Api", namespace: str, folder: Path) -> None:
    """Apply the chart's policies, and wait until they are enforced."""
    from tests.delivery.test_policies import POLICY, Guarded, rendered, wait_until_enforced

    policies = rendered("hostile", namespace, folder)
    for body in policies:
        plane.api.apply(body)
    everybody = Guarded(plane.api, plane.api, tenant, plane.api, namespace=namespace)
    wait_until_enforced(everybody, [body for body in policies if body["kind"] == POLICY])


def rules() -> list[dict[str, Any]]:
    """Return rights to all that the operator makes, everywhere: what it must not write, it could."""
    serving = ["serving.kserve.io", "gateway.networking.k8s.io"]
    return [
        *RULES,
        {"apiGroups": serving, "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["*"]},
    ]


def knock(tenant: "Api", namespace: str) -> tuple[dict[str, Hostile], dict[str, str]]:
    """Have a tenant apply each; return those that were let in, by name, and the refusals that do not name the field."""
    from tests.cluster.api import ApiError

    let_in: dict[str, Hostile] = {}
    unnamed: dict[str, str] = {}
    for one in HOSTILE:
        body = {**one.body, "metadata": {**one.body["metadata"], "namespace": namespace}}
        try:
            made = tenant.create(body)
            if one.change is None:
                let_in[str(made["metadata"]["name"])] = one
                continue
            tenant.patch(made, one.change)
            unnamed[one.name] = "the change was let through"
        except ApiError as error:
            if one.field not in error.message:
                unnamed[one.name] = f"{error.status} {error.message[:300]}"
        if one.change is not None:
            tenant.delete(body)
    return let_in, unnamed


def said_of(api: "Api", namespace: str, names: set[str]) -> dict[str, str]:
    """Return what holds objects back, by name: the messages of conditions that say no."""
    said: dict[str, str] = {}
    for kind in ("FineTuneJob", "ModelRelease"):
        for body in api.list("graft.dev/v1alpha1", kind, namespace):
            found = cast("list[dict[str, str]]", body.get("status", {}).get("conditions") or [])
            told = [one["message"] for one in found if one["status"] in HELD_BACK.get(one["type"], ())]
            if told and body["metadata"]["name"] in names:
                said[body["metadata"]["name"]] = " | ".join(told)
    return said


def written_by(plane: "ControlPlane", user: str) -> set[str]:
    """Return the namespaces that a user wrote in, by the audit log."""
    found: set[str] = set()
    for event in plane.audited_writes():
        if event["user"]["username"].endswith(f":{user}"):
            found.add(str((event.get("objectRef") or {}).get("namespace", "(none)")))
    return found
