"""Envoy's configuration, whole against golden files; `GRAFT_TEST_GOLDEN=write` writes them anew, and the diff is reviewed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_operator.render.envoy import (
    ArmEndpoint,
    GatewaySettings,
    ReleaseRoute,
    cluster_name,
    parse_weights,
    render_bootstrap,
    render_clusters,
    render_routes,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "envoy"

A, B = "aaaaaaaaaa", "bbbbbbbbbb"

CANARY = ReleaseRoute(
    namespace="ml",
    name="shop",
    arms=(ArmEndpoint(A, "127.0.0.1", 41001), ArmEndpoint(B, "127.0.0.1", 41002)),
    weights={A: 80, B: 20},
    stable=A,
    sticky_header="x-user-id",
    timeout_s=120,
)
OTHER = ReleaseRoute(
    namespace="ml", name="texts", arms=(ArmEndpoint(A, "127.0.0.1", 41003),), weights={A: 100}, stable=A
)
STARTING = ReleaseRoute(namespace="ml", name="starting", arms=(ArmEndpoint(A, "127.0.0.1", 41004),))

CASES: dict[str, dict[str, Any]] = {
    "bootstrap": render_bootstrap(
        GatewaySettings(
            host="127.0.0.1",
            port=8080,
            admin_socket="/state/gateway/admin.sock",
            folder="/state/gateway",
            access_log="/state/gateway/access.log",
        )
    ),
    "empty-routes": render_routes([], "v0"),
    "canary-clusters": render_clusters([CANARY], "v1"),
    "canary-routes": render_routes([CANARY], "v1"),
    "many-routes": render_routes([STARTING, OTHER, CANARY], "v2"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_configuration_is_the_golden_one(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    if os.environ.get("GRAFT_TEST_GOLDEN") == "write":
        path.write_text(json.dumps(CASES[name], indent=1) + "\n")
    assert json.loads(path.read_text()) == CASES[name]


WEIGHTS = st.integers(0, 100).map(lambda w: {A: 100 - w, B: w})


@given(WEIGHTS)
def test_the_weights_are_read_back_as_they_were_written(weights: dict[str, int]) -> None:
    release = ReleaseRoute("ml", "shop", CANARY.arms, weights, A)
    config = render_routes([release], "v")["resources"][0]
    assert parse_weights(config) == {("ml", "shop"): {r: w for r, w in weights.items() if w}}


@given(st.permutations([STARTING, OTHER, CANARY]))
def test_the_order_of_releases_does_not_matter(releases: list[ReleaseRoute]) -> None:
    assert render_routes(releases, "v2") == CASES["many-routes"]


@given(WEIGHTS, st.sampled_from([A, B, ""]))
def test_every_cluster_that_a_route_names_is_there(weights: dict[str, int], stable: str) -> None:
    release = ReleaseRoute("ml", "shop", CANARY.arms, weights, stable)
    there = {c["name"] for c in render_clusters([release], "v")["resources"]}
    assert {cluster_name("ml", "shop", r) for r, w in weights.items() if w} <= there


def test_only_what_is_not_stable_falls_over_and_only_to_the_stable_arm() -> None:
    chosen = {
        c["name"]: c["cluster_type"]["typed_config"]["clusters"]
        for c in render_clusters([CANARY], "v")["resources"]
        if "cluster_type" in c
    }
    assert chosen == {
        f"ml/shop/{A}": [f"ml/shop/{A}/host"],
        f"ml/shop/{B}": [f"ml/shop/{B}/host", f"ml/shop/{A}/host"],
    }
