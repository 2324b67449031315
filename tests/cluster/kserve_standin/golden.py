"""What of captured objects is KServe's doing, and the files that keep it.

    python -m tests.cluster.kserve_standin.golden CAPTURE.yaml...      # of `kubectl get isvc,deploy,svc,httproute -o yaml`

writes `tests/golden/kserve/<capture>/{given,made}.yaml`: the InferenceService as a user writes it, and what was made of it.
`<ANY>` stands for what differs from run to run.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tests.house import ROOT

__all__ = ["GOLDEN", "given", "made", "read"]

Json = dict[str, Any]

GOLDEN = ROOT / "tests" / "golden" / "kserve"
ANY = "<ANY>"
KINDS = ("InferenceService", "Deployment", "Service", "HTTPRoute")
"""KServe's; pods are the cluster's."""
FOREIGN_STATUS = {"Deployment", "Service", "HTTPRoute"}
"""Whose status somebody else writes."""
FOREIGN_ANNOTATIONS = {"deployment.kubernetes.io/revision"}
VOLATILE = {"lastTransitionTime", "clusterIP", "clusterIPs"}
KEPT_METADATA = ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences")
REPLICA_SET = re.compile(r'ReplicaSet "[^"]+"')


def given(isvc: Json) -> Json:
    """The InferenceService as somebody applied it."""
    metadata = {
        key: isvc["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in isvc["metadata"]
    }
    return {"apiVersion": isvc["apiVersion"], "kind": isvc["kind"], "metadata": metadata, "spec": isvc["spec"]}


def made(objects: Iterable[Json]) -> list[Json]:
    """What KServe made, in a fixed order, without what differs from run to run."""
    kept = [_normal(item) for item in objects if item["kind"] in KINDS]
    return sorted(kept, key=lambda item: (KINDS.index(item["kind"]), item["metadata"]["name"]))


def read(case: str, part: str) -> list[Json]:
    """The documents of a golden file."""
    return list(yaml.safe_load_all((GOLDEN / case / f"{part}.yaml").read_text(encoding="utf-8")))


def _normal(item: Json) -> Json:
    metadata = {key: item["metadata"][key] for key in KEPT_METADATA if item["metadata"].get(key)}
    if "annotations" in metadata:
        kept = {key: text for key, text in metadata["annotations"].items() if key not in FOREIGN_ANNOTATIONS}
        metadata["annotations"] = kept
    owners = metadata.get("ownerReferences", ())
    if owners:
        metadata["ownerReferences"] = [{key: owner[key] for key in owner if key != "uid"} for owner in owners]
    result = {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, "spec": item["spec"]}
    if item["kind"] not in FOREIGN_STATUS:
        result["status"] = item.get("status", {})
    return {key: _steady(value) for key, value in result.items()}


def _steady(value: Any) -> Any:
    match value:
        case dict():
            return {key: ANY if key in VOLATILE else _steady(item) for key, item in sorted(value.items())}
        case list():
            return [_steady(item) for item in value]
        case str():
            return REPLICA_SET.sub(f'ReplicaSet "{ANY}"', value)
        case _:
            return value


def _write(capture: Path) -> None:
    objects = [item for item in yaml.safe_load_all(capture.read_text(encoding="utf-8")) if item]
    (isvc,) = (item for item in objects if item["kind"] == "InferenceService")
    folder = GOLDEN / capture.stem
    folder.mkdir(parents=True, exist_ok=True)
    for part, documents in (("given", [given(isvc)]), ("made", made(objects))):
        text = yaml.safe_dump_all(documents, sort_keys=False, width=200)
        (folder / f"{part}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        _write(Path(name))
