"""A small synchronous client of an API server, for tests: it says what the server said, and retries nothing."""

import base64
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

import httpx
import yaml

from tests.cluster.errors import BedError

__all__ = ["Access", "Api", "ApiError", "Json", "write_kubeconfig"]

Json = dict[str, Any]
"""A Kubernetes object, or any answer of the server."""

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiError(Exception):
    """The server refused; its words are the message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Access:
    """Where a server is and who asks."""

    server: str
    """`https://host:port`."""
    ca: Path
    """The certificate authority's certificate."""
    token: str = ""
    client: tuple[Path, Path] | None = None
    """Certificate and key, where the user shows one."""

    @classmethod
    def from_kubeconfig(cls, path: Path, folder: Path) -> Self:
        """Read the current context of a kubeconfig.

        Args:
            path: The kubeconfig.
            folder: Where certificates that stand in it are written.

        Returns:
            Whom the context names.

        Raises:
            BedError: It logs in through a plug-in, which this client does not run.
        """
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        if "exec" in user or "auth-provider" in user:
            raise BedError(
                f"{path}: the user {context['user']!r} logs in through a plug-in; use a token or certificate"
            )
        pair = [_file(user, name, folder) for name in ("client-certificate", "client-key")]
        ca = _file(cluster, "certificate-authority", folder)
        if ca is None:
            raise BedError(f"{path}: the cluster {context['cluster']!r} names no certificate authority")
        client = (pair[0], pair[1]) if pair[0] and pair[1] else None
        return cls(cluster["server"], ca, user.get("token", ""), client)

    def tls(self) -> ssl.SSLContext:
        """What a client of this server trusts and shows."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if self.client is not None:
            context.load_cert_chain(*map(str, self.client))
        return context


@dataclass(slots=True)
class Api:
    """Verbs on whole objects; kinds are looked up at the server. Close it, or use it in `with`."""

    access: Access
    http: httpx.Client = field(init=False)
    _kinds: dict[tuple[str, str], tuple[str, bool]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.access.token}"} if self.access.token else {}
        self.http = httpx.Client(
            base_url=self.access.server, verify=self.access.tls(), headers=headers, timeout=90, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def request(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Json:
        """Ask for a path.

        Args:
            method: HTTP's.
            path: With its query.
            body: Sent as JSON, unless None.
            content_type: Of the body.

        Returns:
            The answer; an answer that isn't an object stands under `text`.

        Raises:
            ApiError: The status is not a success.
        """
        content = None if body is None else json.dumps(body)
        answer = self.http.request(method, path, content=content, headers={"Content-Type": content_type})
        if answer.is_success:
            return answer.json() if "json" in answer.headers.get("Content-Type", "") else {"text": answer.text}
        try:
            status = answer.json()
        except ValueError:
            status = {}
        raise ApiError(answer.status_code, status.get("reason", ""), status.get("message", answer.text))

    def create(self, body: Json, *, dry_run: bool = False) -> Json:
        """POST an object."""
        query = "?dryRun=All&fieldValidation=Strict" if dry_run else "?fieldValidation=Strict"
        return self.request("POST", self.path(body, with_name=False) + query, body)

    def apply(self, body: Json, manager: str = "tests") -> Json:
        """Server-side apply, by force."""
        query = urlencode({"fieldManager": manager, "force": "true", "fieldValidation": "Strict"})
        return self.request("PATCH", f"{self.path(body)}?{query}", body, PATCH_TYPES["apply"])

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Json:
        """Read one object; for one that belongs to no namespace the namespace is empty."""
        return self.request("GET", self.path(_stub(api_version, kind, namespace, name)))

    def find(self, api_version: str, kind: str, namespace: str, name: str) -> Json | None:
        """Read one object, or None where there is none of that name."""
        try:
            return self.get(api_version, kind, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self, api_version: str, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None
    ) -> list[Json]:
        """Read all objects of a kind, in one namespace or in all."""
        path = self.path(_stub(api_version, kind, namespace, ""), with_name=False)
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        items: list[Json] = self.request("GET", f"{path}?{urlencode({'labelSelector': selector})}")["items"]
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items]

    def patch(
        self, body: Json, change: object, *, subresource: str = "", patch: Literal["merge", "json"] = "merge"
    ) -> Json:
        """Patch the object that `body` names."""
        path = self.path(body) + (f"/{subresource}" if subresource else "")
        return self.request("PATCH", path, change, PATCH_TYPES[patch])

    def delete(self, body: Json) -> None:
        """Delete the object that `body` names."""
        self.request("DELETE", self.path(body))

    def path(self, body: Json, *, with_name: bool = True) -> str:
        """The object's path, or its collection's."""
        api_version, metadata = body["apiVersion"], body["metadata"]
        plural, is_namespaced = self._resource(api_version, body["kind"])
        parts = [_group_path(api_version)]
        if is_namespaced and metadata.get("namespace"):
            parts.append(f"namespaces/{quote(metadata['namespace'], safe='')}")
        parts.append(plural)
        if with_name:
            parts.append(quote(metadata["name"], safe=""))
        return "/".join(parts)

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._kinds:
            for item in self.request("GET", _group_path(api_version))["resources"]:
                if "/" not in item["name"]:
                    self._kinds[api_version, item["kind"]] = (item["name"], item["namespaced"])
        return self._kinds[api_version, kind]


def write_kubeconfig(path: Path, access: Access) -> Path:
    """Write a kubeconfig of one context for a user with a token, readable by its owner alone."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "graft-test", "cluster": {"server": access.server, "certificate-authority": str(access.ca)}}
        ],
        "users": [{"name": "graft-test", "user": {"token": access.token}}],
        "contexts": [{"name": "graft-test", "context": {"cluster": "graft-test", "user": "graft-test"}}],
        "current-context": "graft-test",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _group_path(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _stub(api_version: str, kind: str, namespace: str, name: str) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name}}


def _named(items: list[Json], name: str) -> Json:
    return next(item for item in items if item["name"] == name)


def _file(part: Json, name: str, folder: Path) -> Path | None:
    if f"{name}-data" in part:
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(part[f"{name}-data"]))
        return path
    return Path(part[name]) if name in part else None
