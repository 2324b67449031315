"""What the story is told on: a node of our own, which has all it needs, or somebody else's cluster, of which variables tell."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.errors import BedError
from tests.cluster.graft_images import IMAGES, loaded
from tests.cluster.node.machine import NODE_IP
from tests.cluster.node.places import FOLDER, S3_KEYS, STORE
from tests.cluster.node.services import GATEWAY_PORT, S3_PORT
from tests.cluster.processes import HOST

__all__ = ["WHERE", "Surroundings", "of_node", "of_variables"]

WHERE = "GRAFT_TEST_NODE"
"""Tells the tests which cluster they run on: `own` or `external`; KUBECONFIG names it."""
WANTED = {
    "GRAFT_TEST_VALUES": "a file of the chart's values: this cluster's images, and what else it needs said",
    "GRAFT_TEST_GATEWAY": "where its gateway answers, such as http://172.18.0.2",
    "GRAFT_TEST_BUCKET": "a bucket that is there, for data, checkpoints and adapters",
    "AWS_ENDPOINT_URL": "where the bucket's server is, from here and from pods",
    "AWS_ACCESS_KEY_ID": "opens the bucket",
    "AWS_SECRET_ACCESS_KEY": "opens the bucket",
}
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
BUCKET = "team"
DOMAIN = "example.com"
"""Of the chart, unless its values say otherwise."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A cluster as the story needs it."""

    is_own: bool
    values: Mapping[str, Any]
    """Of the chart: images, and whatever else this cluster needs said."""
    gateway: str
    """Its URL."""
    bucket: str
    store: str
    """The object store's URL, the same for pods."""
    keys: Mapping[str, str]
    """What opens it, as variables by name."""

    @property
    def domain(self) -> str:
        """A release answers at `<name>-<namespace>.` and this."""
        found: str = (self.values.get("config") or {}).get("domain") or DOMAIN
        return found


def of_node() -> Surroundings:
    """Return those of the node of our own; its bucket is made, for buckets are folders there."""
    images = loaded(STORE)
    assert images is not None, "the node was started without Graft's images: `make e2e`, or `make cluster-up`"
    (FOLDER / "s3" / BUCKET).mkdir(exist_ok=True)
    named = {
        image: dict(zip(("repository", "tag"), images.name(image).rsplit(":", 1), strict=True)) for image in IMAGES
    }
    gateway, store = f"http://{HOST}:{GATEWAY_PORT}", f"http://{NODE_IP}:{S3_PORT}"
    return Surroundings(True, {"image": named}, gateway, BUCKET, store, json.loads(S3_KEYS.read_text()))


def of_variables(env: Mapping[str, str] = os.environ) -> Surroundings:
    """Return those that the variables of `WANTED` tell.

    Args:
        env: Variables by name.

    Returns:
        The surroundings; nothing was asked of the cluster yet.

    Raises:
        BedError: Variables are missing, or the file of values is none; the message names all that is wrong.
    """
    missing = [f"{name}: {what}" for name, what in WANTED.items() if not env.get(name)]
    if missing:
        raise BedError(
            "on a cluster of KUBECONFIG the story needs more variables (docs/develop/cluster.md):\n  "
            + "\n  ".join(missing)
        )
    file = Path(env["GRAFT_TEST_VALUES"])
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BedError(
            f"GRAFT_TEST_VALUES={str(file)!r}: expected a YAML file of the chart's values: {error}"
        ) from error
    if not isinstance(values, dict) or "image" not in values:
        raise BedError(
            f"GRAFT_TEST_VALUES={str(file)!r}: expected values with `image`: the names of images that this cluster can pull"
        )
    return Surroundings(
        is_own=False,
        values=values,
        gateway=env["GRAFT_TEST_GATEWAY"].rstrip("/"),
        bucket=env["GRAFT_TEST_BUCKET"],
        store=env["AWS_ENDPOINT_URL"],
        keys={name: env[name] for name in KEYS},
    )
