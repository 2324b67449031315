"""The part of KServe's pod webhook that fetches models: it gives a predictor's pod its model folder.

`pvc://claim/path` is mounted; any other URI gets an init container from the ClusterStorageContainer that says it supports it, and an
empty folder which the two share. `STORAGE_URI` becomes the folder. Credentials that KServe would take from service accounts are not
played: a ClusterStorageContainer brings its own environment.
"""

import base64
import json
import re
import ssl
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.cluster.api import Api
from tests.cluster.certificates import Authority
from tests.cluster.kserve_standin.objects import LABEL, SOURCE_URI
from tests.cluster.processes import HOST

__all__ = ["Refused", "serving_pods", "to_patch"]

Json = dict[str, Any]

MODELS = "/mnt/models"
SHARED = "kserve-provision-location"
CLAIM = "kserve-pvc-source"
INITIALIZER = "storage-initializer"
NAME = "kserve-standin-pods"
PATH = "/mutate-pods"
TIMEOUT_S = 10
STORAGE_CONTAINERS = ("serving.kserve.io/v1alpha1", "ClusterStorageContainer")


class Refused(Exception):
    """The pod cannot get its model; the message is the webhook's answer."""


def to_patch(pod: Json, storage: Sequence[Json]) -> list[Json]:
    """What is changed about a pod, as a JSON patch.

    Args:
        pod: As it is to be stored.
        storage: The cluster's ClusterStorageContainers.

    Returns:
        Operations; none for a pod that asks for no model.

    Raises:
        Refused: Nothing on this cluster supports the URI.
    """
    uri = pod["metadata"].get("annotations", {}).get(SOURCE_URI)
    spec = pod["spec"]
    if not uri or any(item["name"] == INITIALIZER for item in spec.get("initContainers", ())):
        return []
    changed = {"volumes": list(spec.get("volumes", ())), "initContainers": list(spec.get("initContainers", ()))}
    main = next(item for item in spec["containers"] if item["name"] == "kserve-container")
    if uri.startswith("pvc://"):
        claim, _, path = uri.removeprefix("pvc://").partition("/")
        mount = {"name": CLAIM, "mountPath": MODELS, "subPath": path, "readOnly": True}
        changed["volumes"].append({"name": CLAIM, "persistentVolumeClaim": {"claimName": claim}})
    else:
        mount = {"name": SHARED, "mountPath": MODELS, "readOnly": True}
        changed["volumes"].append({"name": SHARED, "emptyDir": {}})
        changed["initContainers"].append(_initializer(uri, main, storage))
    mounted = {**main, "env": _env(main), "volumeMounts": [*main.get("volumeMounts", ()), mount]}
    containers = [mounted if item is main else item for item in spec["containers"]]
    return [
        {"op": "add", "path": f"/spec/{name}", "value": value}
        for name, value in {**changed, "containers": containers}.items()
        if value
    ]


def _env(main: Json) -> list[Json]:
    return [{**item, "value": MODELS} if item["name"] == "STORAGE_URI" else item for item in main.get("env", ())]


def _initializer(uri: str, main: Json, storage: Sequence[Json]) -> Json:
    for item in storage:
        if any(_is_supported(uri, given) for given in item["spec"]["supportedUriFormats"]):
            container = item["spec"]["container"]
            mounts = [*container.get("volumeMounts", ()), {"name": SHARED, "mountPath": MODELS}]
            inherited = {"securityContext": main["securityContext"]} if "securityContext" in main else {}
            own = {"name": INITIALIZER, "args": [uri, MODELS], "volumeMounts": mounts}
            return {**inherited, **container, **own}
    raise Refused(f"no ClusterStorageContainer supports the storage URI {uri!r}")


def _is_supported(uri: str, given: Json) -> bool:
    if "prefix" in given:
        return uri.startswith(given["prefix"])
    return re.search(given["regex"], uri) is not None


@contextmanager
def serving_pods(api: Api) -> Generator[None, None, None]:
    """Serve the webhook on loopback, where the API server must be too, and register it."""
    with tempfile.TemporaryDirectory(prefix="graft-podwebhook-") as name:
        folder = Path(name)
        Authority.create(folder).issue("server", "podwebhook", hosts=(HOST,))
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(folder / "server.crt", folder / "server.key")
        with ThreadingHTTPServer((HOST, 0), _handler(lambda: api.list(*STORAGE_CONTAINERS))) as server:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            thread = Thread(target=server.serve_forever, name="podwebhook", daemon=True)
            thread.start()
            config = _configuration(server.server_address[1], (folder / "ca.crt").read_bytes())
            api.apply(config)
            try:
                yield
            finally:
                api.delete(config)
                server.shutdown()
                thread.join()


def _configuration(port: int, ca: bytes) -> Json:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [
            {
                "name": f"{NAME}.graft.dev",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": TIMEOUT_S,
                "clientConfig": {"url": f"https://{HOST}:{port}{PATH}", "caBundle": base64.b64encode(ca).decode()},
                "objectSelector": {"matchExpressions": [{"key": LABEL, "operator": "Exists"}]},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            }
        ],
    }


def _handler(storage: Callable[[], list[Json]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer: Json = {"uid": review["request"]["uid"], "allowed": True}
            try:
                patch = to_patch(review["request"]["object"], storage())
                encoded = base64.b64encode(json.dumps(patch).encode()).decode()
                answer |= {"patchType": "JSONPatch", "patch": encoded}
            except Refused as refused:
                answer |= {"allowed": False, "status": {"code": 400, "message": str(refused)}}
            body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
