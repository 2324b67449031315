"""A real API server as `graft_operator.ports.Cluster`: each verb as one request, as a rule.

Unknown fields of what Graft writes are refused by the server (`fieldValidation=Strict`), not dropped: a field that an older CRD does not
know would otherwise be accepted and do nothing.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import aiohttp

from graft_core.clock import Clock
from graft_core.errors import InvalidInput, NotReady
from graft_operator.cluster.faults import Call
from graft_operator.cluster.transport import Request, Transport
from graft_operator.ports import FIELD_MANAGER, PODS, Json, Objects, Resource
from graft_operator.reconcile.kube.parts import part, parts, text

__all__ = ["KubernetesCluster"]

PAGE: Final = 500
METADATA_ALONE: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
SERVED_FOR_S: Final = 60.0
"""How long an answer about what is served is believed."""
POD_DEADLINE_S: Final = 2.0
MAX_POD_BYTES: Final = 1_048_576
"""Longest answer of a pod that is read."""

_WRITING: Final = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}


class KubernetesCluster:
    """`ports.Cluster` over a transport."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._served: dict[str, tuple[float, frozenset[str]]] = {}
        self._pods: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._pods is not None:
            await self._pods.close()
            self._pods = None
        await self._transport.close()

    async def serves(self, resource: Resource) -> bool:
        """Say whether the API server serves the resource; an answer may be a minute old."""
        known = self._served.get(resource.api_version)
        if known is None or self._clock.monotonic() - known[0] > SERVED_FOR_S:
            found = await self._found(Request(Call("get", resource, ""), "GET", resource.root))
            plurals = frozenset(str(entry["name"]) for entry in (found or {}).get("resources", []))
            known = (self._clock.monotonic(), plurals)
            self._served[resource.api_version] = known
        return resource.plural in known[1]

    async def get(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """Read one object; None where there is none, or where the resource is not served."""
        return await self._found(Request(Call("get", resource, namespace, name), "GET", resource.path(namespace, name)))

    async def list(self, resource: Resource, namespace: str, labels: Mapping[str, str]) -> Objects:
        """Read all objects that carry the labels, page by page."""
        return [item async for page in self._pages(resource, namespace, labels, "application/json") for item in page]

    def walk(self, resource: Resource, namespace: str, labels: Mapping[str, str]) -> AsyncIterator[Objects]:
        """Read the metadata alone of all objects that carry the labels, a page at a time."""
        return self._pages(resource, namespace, labels, METADATA_ALONE)

    async def _pages(
        self, resource: Resource, namespace: str, labels: Mapping[str, str], accept: str
    ) -> AsyncIterator[Objects]:
        selector = ",".join(f"{name}={value}" if value else name for name, value in sorted(labels.items()))
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        # Items of a list do not say what they are.
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        call = Call("list", resource, namespace)
        while True:
            page = await self._found(Request(call, "GET", resource.path(namespace), query, accept=accept))
            if page is None:
                return
            yield [{**item, **kind} for item in parts(page, "items")]
            follows = text(page, "metadata", "continue")
            if not follows:
                return
            query |= {"continue": follows}

    async def create(self, resource: Resource, body: Json) -> Json:
        """Create an object (POST); `Conflict` where its name is taken."""
        namespace, name = _place(body)
        call = Call("create", resource, namespace, name)
        return await self._transport.send(Request(call, "POST", resource.path(namespace), _WRITING, body))

    async def apply(self, resource: Resource, body: Json) -> Json:
        """Apply an object server-side, forced; guarded where `metadata.resourceVersion` is set."""
        namespace, name = _place(body)
        return await self._transport.send(
            Request(
                Call("apply", resource, namespace, name),
                "PATCH",
                resource.path(namespace, name),
                {**_WRITING, "force": "true"},
                {"apiVersion": resource.api_version, "kind": resource.kind, **body},
                "application/apply-patch+yaml",
            )
        )

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Json,
        *,
        resource_version: str | None = None,
        subresource: str = "",
    ) -> Json:
        """Patch an object (JSON merge patch)."""
        body = patch
        if resource_version is not None:
            body = {**patch, "metadata": {**part(patch, "metadata"), "resourceVersion": resource_version}}
        return await self._transport.send(
            Request(
                Call("patch", resource, namespace, name, subresource),
                "PATCH",
                resource.path(namespace, name, subresource),
                _WRITING,
                body,
                "application/merge-patch+json",
            )
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        grace_s: int | None = None,
    ) -> None:
        """Delete an object and, in the background, what it owns."""
        preconditions = {"uid": uid}
        if resource_version:
            preconditions["resourceVersion"] = resource_version
        body: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": preconditions,
        }
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        call = Call("delete", resource, namespace, name)
        await self._found(Request(call, "DELETE", resource.path(namespace, name), body=body))

    async def fetch_pod(self, namespace: str, name: str, port: int, path: str) -> bytes:
        """GET from a pod over HTTP at its IP."""
        pod = await self.get(PODS, namespace, name)
        ip = text(pod, "status", "podIP")
        if not ip:
            raise NotReady(f"pod {namespace}/{name} has no address yet")
        if self._pods is None:
            timeout = aiohttp.ClientTimeout(total=POD_DEADLINE_S)
            self._pods = aiohttp.ClientSession(
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,  # a few bytes could become many
            )
        url = f"http://{f'[{ip}]' if ':' in ip else ip}:{port}{path}"
        try:
            async with self._pods.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise NotReady(f"pod {namespace}/{name} answered {response.status} at :{port}{path}")
                body = await response.content.read(MAX_POD_BYTES)
                while len(body) < MAX_POD_BYTES and (more := await response.content.read(MAX_POD_BYTES - len(body))):
                    body += more
                return body
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotReady(
                f"pod {namespace}/{name} does not answer at :{port}{path} ({type(error).__name__})"
            ) from error

    async def _found(self, request: Request) -> Json | None:
        try:
            return await self._transport.send(request)
        except InvalidInput as error:
            if error.reason == "NotFound":
                return None
            raise


def _place(body: Json) -> tuple[str, str]:
    meta = body["metadata"]
    return str(meta.get("namespace") or "default"), str(meta.get("name") or meta.get("generateName") or "")
