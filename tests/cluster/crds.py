"""Custom resource definitions: ours from the tree, KServe's and the Gateway API's from their Go modules.

The modules' folders are found by `go mod download`; the content's hash is pinned here, as go.sum would.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import yaml

from tests.cluster.api import Api, ApiError, Json
from tests.cluster.errors import BedError
from tests.cluster.gobuild import cache_folder, go_program
from tests.cluster.processes import until

__all__ = ["GATEWAY_API", "KSERVE", "KSERVE_REST", "CrdModule", "install", "our_crds"]

MANIFESTS = Path(__file__).parents[2] / "manifests" / "crds"
SERVED_S = 120
NOT_YET = {404, 429, 503}
"""Answers of a server that is still making the storage of a kind."""
BUSY = {429, 500, 503, 504}
"""Answers of a server that has too much to do; what it was asked may be done all the same."""
DOWNLOAD_S = 300


@dataclass(frozen=True, slots=True)
class CrdModule:
    """A Go module that carries CRDs."""

    path: str
    version: str
    sum: str
    """As in go.sum."""
    folder: str
    """In the module."""
    kinds: tuple[str, ...]
    """Those that are asked for here."""

    def crds(self) -> list[Json]:
        """The definitions, downloaded at first use and kept in the cache.

        Returns:
            One object a definition.

        Raises:
            BedError: The module cannot be fetched, or is not the one that was pinned.
        """
        name = f"{self.path.replace('/', '_')}@{self.version}-{sha256(repr(self).encode()).hexdigest()[:8]}.json"
        kept = cache_folder() / "crds" / name
        if not kept.is_file():
            # JSON: reading two megabytes of YAML takes seconds each time.
            found = [
                crd
                for crd in _crds_in(self.download() / self.folder, self.kinds)
                if crd["spec"].get("names", {}).get("kind") in self.kinds
            ]
            if len(found) != len(self.kinds):
                raise BedError(f"{self.path}@{self.version} has not all of the kinds {', '.join(sorted(self.kinds))}")
            kept.parent.mkdir(parents=True, exist_ok=True)
            made = kept.with_name(f"{kept.name}.{os.getpid()}")
            made.write_text(json.dumps(found))
            made.replace(kept)
        crds: list[Json] = json.loads(kept.read_text())
        return crds

    def download(self) -> Path:
        """Return the module's folder, downloaded at first use.

        Returns:
            The folder, in Go's own cache; it may not be written to.

        Raises:
            BedError: It cannot be fetched, or is not the one that was pinned.
        """
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        command = [go_program(self.path), "mod", "download", "-json", f"{self.path}@{self.version}"]
        # Outside any module, so that only this one is looked at, and not what it requires.
        env = {**os.environ, "GOWORK": "off", "GO111MODULE": "on"}
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False
        )
        found = json.loads(done.stdout or "{}")
        if done.returncode or "Dir" not in found:
            raise BedError(f"{' '.join(command)} failed: {found.get('Error', done.stderr.strip())}")
        if found["Sum"] != self.sum:
            raise BedError(f"{self.path}@{self.version} has the sum {found['Sum']!r}, expected {self.sum!r}")
        return Path(found["Dir"])


KSERVE = CrdModule(
    "github.com/kserve/kserve",
    "v0.20.0",
    "h1:Bs7HxmGV4KFqqptDcWseKv+mwD4YOYHJWcuVgPG2Gug=",
    "config/crd/full",
    ("InferenceService", "ServingRuntime", "ClusterServingRuntime", "ClusterStorageContainer"),
)
"""`spec.canary` is in this version's schema already."""

KSERVE_REST = replace(KSERVE, kinds=("TrainedModel", "InferenceGraph"))
"""What its own controller watches beside them; nothing of Graft asks for these."""

GATEWAY_API = CrdModule(
    "sigs.k8s.io/gateway-api",
    "v1.4.0",
    "h1:ZwlNM6zOHq0h3WUX2gfByPs2yAEsy/EenYJB78jpQfQ=",
    "config/crd/standard",
    ("GatewayClass", "Gateway", "HTTPRoute", "ReferenceGrant", "GRPCRoute", "BackendTLSPolicy"),
)
"""All of the standard channel: an implementation looks for each of them."""


def our_crds() -> list[Json]:
    """Graft's own, as generated into the tree."""
    return list(_crds_in(MANIFESTS))


def install(api: Api, crds: Sequence[Json]) -> None:
    """Apply definitions and wait until their kinds are served.

    Args:
        api: Of an administrator.
        crds: What to install.
    """
    for crd in crds:
        until(partial(_is_stored, api, crd), SERVED_S, f"{crd['metadata']['name']} to be stored")
    for crd in crds:
        until(partial(_is_served, api, crd), SERVED_S, f"{crd['metadata']['name']} to be served")


def _is_stored(api: Api, crd: Json) -> bool:
    """Create it, or apply it where it is there: applying the large ones costs the server a second, and a busy one its patience."""
    try:
        api.create(crd)
    except ApiError as error:
        if error.status == 409:
            api.apply(crd)
            return True
        if error.status in BUSY:
            return False
        raise
    return True


def _is_served(api: Api, crd: Json) -> bool:
    """Ask for objects of the kind, and for the kind itself: storage and discovery each come in their own time.

    The definition's condition Established comes before either, and reading it would cost half a megabyte a look.
    """
    spec = crd["spec"]
    plural = spec["names"]["plural"]
    try:
        for version in (each["name"] for each in spec["versions"] if each["served"]):
            group = f"/apis/{spec['group']}/{version}"
            api.request("GET", f"{group}/{plural}?limit=1")
            if plural not in {item["name"] for item in api.request("GET", group)["resources"]}:
                return False
    except ApiError as error:
        if error.status in NOT_YET:
            return False
        raise
    return True


def _crds_in(folder: Path, kinds: Sequence[str] = ()) -> Iterator[Json]:
    """Read the definitions in a folder; files that name none of the kinds asked for are passed over, for some are large."""
    for path in sorted(folder.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if kinds and not any(f"kind: {kind}\n" in text for kind in kinds):
            continue
        for document in yaml.load_all(text, Loader=yaml.CSafeLoader):
            if document and document.get("kind") == "CustomResourceDefinition":
                yield document
