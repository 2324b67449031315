"""Releases, arms and weights → Envoy's configuration as JSON; pure and golden-tested. YAML is avoided: it reads `n` as false.

    /<namespace>/<name>/...   the release of that name; the prefix is taken off
    /...                      the only release, where there is exactly one
    else                      404, shaped like an error of the OpenAI API

A release's requests are split by the weights that were asked for. Envoy's own health check keeps requests from an arm that is not ready.
An arm is two clusters: its host, and the one that routes name, an aggregate of that host and, for an arm that is not the stable one, the
stable arm's host to fall over to: a candidate that dies costs no request. The name that routes use stays the same when another arm
becomes the stable one, so no route ever names a cluster that has just gone. The other way round nothing falls over: a candidate that was proven for 5 % does not get
the rest because the stable arm broke; those requests end with 503 until a person decides.
Retries are the predictor's, but for connections that could not be made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "CLUSTER_TYPE",
    "ROUTE_NAME",
    "ROUTE_TYPE",
    "ArmEndpoint",
    "GatewaySettings",
    "ReleaseRoute",
    "cluster_name",
    "host_cluster_name",
    "parse_weights",
    "render_bootstrap",
    "render_clusters",
    "render_routes",
]

Json = dict[str, Any]
"""A JSON object."""

ROUTE_NAME: Final = "releases"
ROUTE_TYPE: Final = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
CLUSTER_TYPE: Final = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
_MANAGER: Final = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_ROUTER: Final = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_FILE_LOG: Final = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_AGGREGATE: Final = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"
_HTTP_OPTIONS: Final = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

HEALTH_PATH: Final = "/v2/health/ready"
EXTRA_TIMEOUT_S: Final = 5
"""The predictor ends a request first, with a better message than the gateway's."""

_LOG_FIELDS: Final = {
    "at": "%START_TIME(%Y-%m-%dT%H:%M:%S.%fZ)%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "arm": "%UPSTREAM_CLUSTER_RAW%",
    "host": "%UPSTREAM_HOST%",
    "duration_ms": "%DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "request_id": "%RESP(X-GRAFT-REQUEST-ID)%",
}
"""The access log: no body, no query, no header that a person wrote."""


@dataclass(frozen=True, slots=True)
class ArmEndpoint:
    """Where one arm listens."""

    revision: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ReleaseRoute:
    """One release as the gateway sees it."""

    namespace: str
    name: str
    arms: tuple[ArmEndpoint, ...] = ()
    """Every arm that exists, ready or not: Envoy learns its health before it gets weight."""
    weights: Mapping[str, int] = field(default_factory=dict[str, int])
    """Percent by revision, summing to 100, of arms that were ready when they were given it; empty: the route is closed."""
    stable: str = ""
    """Revision that others fall over to."""
    sticky_header: str = ""
    """Request header that keeps a user on an arm; empty: none."""
    timeout_s: int = 120
    """The predictor's own deadline."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What the bootstrap is made of."""

    host: str
    port: int
    admin_socket: str
    folder: str
    """Folder that holds cds.json and rds.json, watched for renames."""
    access_log: str


def cluster_name(namespace: str, name: str, revision: str) -> str:
    """Name the cluster that routes name."""
    return f"{namespace}/{name}/{revision}"


def host_cluster_name(namespace: str, name: str, revision: str) -> str:
    """Name the cluster of an arm's own host, which is health-checked."""
    return f"{cluster_name(namespace, name, revision)}/host"


def render_bootstrap(gateway: GatewaySettings) -> Json:
    """Render the part that never changes while Envoy runs: admin, listener, and where the rest is read from."""
    return {
        "node": {"id": "graft-gateway", "cluster": "graft"},
        "admin": {"address": {"pipe": {"path": gateway.admin_socket, "mode": 0o600}}},
        "static_resources": {"listeners": [_listener(gateway)]},
        "dynamic_resources": {"cds_config": _from_file(gateway, "cds.json")},
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"overload.global_downstream_max_connections": 10000}}]
        },
    }


def render_clusters(releases: Sequence[ReleaseRoute], version: str) -> Json:
    """Render CDS: for each arm its health-checked host, and the cluster that routes name."""
    resources: list[Json] = []
    for release in _sorted(releases):
        for arm in sorted(release.arms, key=lambda a: a.revision):
            resources += [_host_cluster(release, arm), _arm_cluster(release, arm.revision)]
    return {"version_info": version, "resources": resources}


def render_routes(releases: Sequence[ReleaseRoute], version: str) -> Json:
    """Render RDS: the routes of every release, then the bare path, then 404."""
    ordered = _sorted(releases)
    routes = [_release_route(release) for release in ordered]
    if len(ordered) == 1:
        routes.append({"match": {"prefix": "/"}, **_action(ordered[0])})
    known = ", ".join(f"/{r.namespace}/{r.name}/v1" for r in ordered) or "none yet"
    routes.append(
        {
            "match": {"prefix": "/"},
            "direct_response": _refusal(404, f"no release answers at this path; there are: {known}"),
        }
    )
    host = {"name": "all", "domains": ["*"], "routes": routes}
    return {
        "version_info": version,
        "resources": [{"@type": ROUTE_TYPE, "name": ROUTE_NAME, "virtual_hosts": [host]}],
    }


def parse_weights(route_config: Json) -> dict[tuple[str, str], dict[str, int]]:
    """Read the weights in force back from a route configuration, by (namespace, name) and revision."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for host in route_config.get("virtual_hosts", []):
        for route in host.get("routes", []):
            for cluster in route.get("route", {}).get("weighted_clusters", {}).get("clusters", []):
                namespace, name, revision = str(cluster["name"]).split("/")
                found.setdefault((namespace, name), {})[revision] = int(cluster.get("weight", 0))
    return found


def _sorted(releases: Sequence[ReleaseRoute]) -> list[ReleaseRoute]:
    return sorted(releases, key=lambda r: (r.namespace, r.name))


def _release_route(release: ReleaseRoute) -> Json:
    path = f"/{release.namespace}/{release.name}"
    action = _action(release)
    if "route" in action:
        # With the slash, so that what is left begins with one; the bare prefix has nothing to ask for.
        action = {"route": {**action["route"], "prefix_rewrite": "/"}}
    return {"match": {"prefix": f"{path}/"}, **action}


def _action(release: ReleaseRoute) -> Json:
    weights = {revision: weight for revision, weight in release.weights.items() if weight > 0}
    if not weights:
        return {
            "direct_response": _refusal(503, f"release {release.namespace}/{release.name} has no arm that is ready")
        }
    # The stable arm first: raising the others' share then only moves users away from it, and back when it is lowered.
    ordered = sorted(weights, key=lambda revision: (revision != release.stable, revision))
    split: Json = {
        "clusters": [
            {"name": cluster_name(release.namespace, release.name, revision), "weight": weights[revision]}
            for revision in ordered
        ]
    }
    route: Json = {
        "weighted_clusters": split,
        "timeout": f"{release.timeout_s + EXTRA_TIMEOUT_S}s",
        "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2},
    }
    if release.sticky_header:
        split["use_hash_policy"] = True
        route["hash_policy"] = [{"header": {"header_name": release.sticky_header}}]
    return {"route": route}


def _refusal(status: int, message: str) -> Json:
    return {"status": status, "body": {"inline_string": message}}


def _host_cluster(release: ReleaseRoute, arm: ArmEndpoint) -> Json:
    name = host_cluster_name(release.namespace, release.name, arm.revision)
    address = {"socket_address": {"address": arm.host, "port_value": arm.port}}
    return {
        "@type": CLUSTER_TYPE,
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        # 0: with all hosts unhealthy Envoy would otherwise try them anyway.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_interval": "0.5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": HEALTH_PATH},
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP_OPTIONS,
                "explicit_http_config": {"http_protocol_options": {}},
                # Below the predictor's own keep-alive: a connection that the other side is just closing loses a request.
                "common_http_protocol_options": {"idle_timeout": "3s"},
            }
        },
        "circuit_breakers": {
            "thresholds": [{"max_connections": 10000, "max_pending_requests": 10000, "max_requests": 10000}]
        },
    }


def _arm_cluster(release: ReleaseRoute, revision: str) -> Json:
    revisions = [revision]
    if release.stable != revision and release.stable in {arm.revision for arm in release.arms}:
        revisions.append(release.stable)
    hosts = [host_cluster_name(release.namespace, release.name, r) for r in revisions]
    return {
        "@type": CLUSTER_TYPE,
        "name": cluster_name(release.namespace, release.name, revision),
        "connect_timeout": "1s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": {"@type": _AGGREGATE, "clusters": hosts}},
    }


def _from_file(gateway: GatewaySettings, name: str) -> Json:
    source = {"path": f"{gateway.folder}/{name}", "watched_directory": {"path": gateway.folder}}
    return {"resource_api_version": "V3", "path_config_source": source}


def _listener(gateway: GatewaySettings) -> Json:
    manager: Json = {
        "@type": _MANAGER,
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        # A client that sends its headers drop by drop does not hold a connection for long.
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "300s",
        "common_http_protocol_options": {"idle_timeout": "300s", "headers_with_underscores_action": "REJECT_REQUEST"},
        "drain_timeout": "1s",
        "server_header_transformation": "PASS_THROUGH",
        "rds": {"route_config_name": ROUTE_NAME, "config_source": _from_file(gateway, "rds.json")},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
        "local_reply_config": _replies(),
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": _FILE_LOG,
                    "path": gateway.access_log,
                    "log_format": {"json_format": _LOG_FIELDS},
                },
            }
        ],
    }
    return {
        "name": "gateway",
        "address": {"socket_address": {"address": gateway.host, "port_value": gateway.port}},
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _replies() -> Json:
    """Shape what Envoy itself answers like the predictor's errors."""

    def body(kind: str, code: str) -> Json:
        error = {"message": "%LOCAL_REPLY_BODY%", "type": kind, "code": code, "param": None}
        return {"body_format_override": {"json_format": {"error": error}}}

    def when(operator: str, status: int) -> Json:
        comparison = {"op": operator, "value": {"default_value": status, "runtime_key": "graft.unused"}}
        return {"filter": {"status_code_filter": {"comparison": comparison}}}

    return {
        "mappers": [
            {**when("EQ", 404), **body("invalid_request_error", "release_not_found")},
            {**when("EQ", 504), **body("server_error", "timeout")},
            {**when("GE", 500), **body("server_error", "not_ready")},
            {**when("GE", 400), **body("invalid_request_error", "bad_request")},
        ]
    }
