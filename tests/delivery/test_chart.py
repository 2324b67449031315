"""The chart held to the code without Helm: values, schema, settings, rights, what its pods may do."""

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from graft_operator.render.install.rbac import EDITORS, GRANTS, VIEWERS, Scope, render_rules
from graft_operator.settings import OperatorSettings
from tests.delivery.chart import (
    CASES,
    CHART,
    INSTALL,
    KEY,
    Json,
    chart_key,
    ci_values,
    documents,
    env_of,
    golden,
    of_kind,
    only,
)
from tests.house import ROOT

VALUES: Json = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: Json = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
NOT_VALUES = {"own_namespace", "pod_name", "kubeconfig", "context", "probe_host"}
"""Settings that a pod gets from elsewhere, or that make no sense in one."""
BY_OTHER_VALUES = {"namespaces", "probe_port", "trainer_image", "predictor_image"}


def leaves(values: Json, prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in values.items():
        path = f"{prefix}{name}"
        is_section = isinstance(value, dict) and value and path not in {"resources", "metrics.dashboard.labels"}
        found += leaves(value, f"{path}.") if is_section else [path]
    return found


def to_setting(key: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", key).lower()


def faults(values: Json) -> list[str]:
    return [error.message for error in jsonschema.Draft7Validator(SCHEMA).iter_errors(values)]


def test_the_renders_are_those_of_this_chart() -> None:
    assert KEY.read_text(encoding="utf-8").strip() == chart_key(), "run: python -m tests.delivery.rendering"


@pytest.mark.parametrize("case", CASES)
def test_the_schema_takes_every_case(case: str) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert faults(VALUES) == []
    assert faults(yaml.safe_load(ci_values(case).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 2}, "'replica' was unexpected"),
        ({"replicas": "two"}, "is not of type 'integer'"),
        ({"config": {"logLevel": "LOUD"}}, "is not one of"),
        ({"config": {"loglevel": "INFO"}}, "'loglevel' was unexpected"),
        ({"config": {"trainerEnv": {"A": "b,c"}}}, "does not match"),
        ({"config": {"outputUri": "ftp://x"}}, "does not match"),
        ({"config": {"outputUri": "s3://bucket"}}, "does not match"),
        ({"config": {"domain": "https://models.example.org"}}, "does not match"),
        ({"config": {"workSize": "200 GB"}}, "does not match"),
        ({"config": {"gatewayNamespace": "kserve/gateway"}}, "does not match"),
        ({"image": {"operator": {"digest": "sha256:12"}}}, "does not match"),
        ({"admissionPolicies": {"images": {"allowed": ["ghcr.io/team"]}}}, "does not match"),
        ({"networkPolicies": {"namespaces": ["ml", "ml"]}}, "non-unique"),
        ({"metrics": {"rules": {"errorRate": 5}}}, "5"),
    ],
)
def test_the_schema_refuses(values: Json, said: str) -> None:
    assert any(said in fault for fault in faults(values)), faults(values)


def used_values() -> str:
    """All templates, with the sections that one takes into a variable written out."""
    found: list[str] = []
    for path in (CHART / "templates").iterdir():
        text = path.read_text(encoding="utf-8").replace("$root.", ".").replace(".root.", ".")
        for name, section in re.findall(r"\$(\w+) := \.Values\.([\w.]+)", text):
            text = re.sub(rf"\${name}\.", f".Values.{section}.", text)
        found.append(text)
    return "\n".join(found)


def test_every_value_is_used_by_a_template() -> None:
    text = used_values()
    # Walked over as a whole; the tests of the variables see to each.
    walked = ("config.", *(f"image.{name}." for name in ("operator", "trainer", "predictor")))
    wanted = [path for path in leaves(VALUES) if not path.startswith(walked)]
    assert [path for path in wanted if not re.search(rf"\.Values\.{re.escape(path)}\b", text)] == []


def test_the_config_is_the_operators_settings() -> None:
    known = set(OperatorSettings.model_fields)
    given = {to_setting(key) for key in VALUES["config"]}
    assert given == known - NOT_VALUES - BY_OTHER_VALUES


def test_the_defaults_of_the_config_are_the_operators_own() -> None:
    ours = OperatorSettings.from_environment(env_of(golden("default")))
    theirs = OperatorSettings.from_environment({})
    differing = {name for name in OperatorSettings.model_fields if getattr(ours, name) != getattr(theirs, name)}
    assert differing == {"trainer_image", "predictor_image"}


@pytest.mark.parametrize("case", CASES)
def test_the_operator_reads_its_variables(case: str) -> None:
    env = env_of(golden(case))
    unknown = {name for name in env if name.startswith("GRAFT_")} - {
        f"GRAFT_{name.upper()}" for name in OperatorSettings.model_fields
    }
    assert unknown == set()
    OperatorSettings.from_environment(env)


def test_values_arrive_as_settings() -> None:
    settings = OperatorSettings.from_environment(env_of(golden("gpu-prod")))
    assert settings.allowed_licenses == frozenset({"apache-2.0", "mit"})
    assert settings.trainer_env == {
        "AWS_ENDPOINT_URL": "http://minio.storage:9000",
        "HF_ENDPOINT": "https://hub.example.com",
    }
    assert settings.watchdog_s == 1800
    assert settings.predictor_image == f"registry.example.com/graft/predictor:0.1.0-cu126@sha256:{'3' * 64}"
    assert OperatorSettings.from_environment(env_of(golden("minimal"))).namespaces == ("ml", "shop")


@pytest.mark.parametrize("case", CASES)
def test_the_rights_are_those_of_the_code(case: str) -> None:
    objects = golden(case)
    roles = {each["metadata"]["name"]: each["rules"] for each in of_kind(objects, "ClusterRole")}
    operator = only(objects, "Deployment")["metadata"]["name"]
    own = {(e["metadata"]["name"], e["metadata"]["namespace"]): e["rules"] for e in of_kind(objects, "Role")}
    assert own.pop((f"{operator}-lease", "graft-system")) == render_rules([Scope.OWN], "graft-operator")
    if case == "minimal":
        assert roles == {}
        assert own == dict.fromkeys([(operator, "ml"), (operator, "shop")], render_rules([Scope.SERVED]))
        return
    assert own == {}
    base = operator.removesuffix("-operator")
    assert roles == {
        operator: render_rules([Scope.SERVED, Scope.CLUSTER]),
        f"{base}-view": list(VIEWERS),
        f"{base}-edit": list(EDITORS),
    }


def test_manifests_and_page_have_the_same_rights() -> None:
    for path in (ROOT / "manifests" / "rbac" / "operator.yaml", INSTALL):
        objects = documents(path.read_text(encoding="utf-8"))
        by_name = {each["metadata"]["name"]: each for each in of_kind(objects, "ClusterRole")}
        assert by_name["graft-operator"]["rules"] == render_rules([Scope.SERVED, Scope.CLUSTER])
        assert only(objects, "Role")["rules"] == render_rules([Scope.OWN], "graft-operator")
    page = (ROOT / "docs" / "user" / "rbac.md").read_text(encoding="utf-8")
    for grant in GRANTS:
        assert f"`{grant.name}`" in page
        assert ", ".join(grant.verbs) in page


def test_no_right_is_granted_twice_and_none_on_secrets() -> None:
    pairs = [pair for grant in GRANTS for pair in grant.pairs]
    assert len(pairs) == len(set(pairs))
    words = {word for group, resource, verb in pairs for word in (group, resource, verb)}
    assert not words & {"*", "secrets", "impersonate", "escalate", "bind"}


@pytest.mark.parametrize("case", CASES)
def test_the_operators_pod_is_restricted(case: str) -> None:
    objects = golden(case)
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not any(name in {"GRAFT_PORT", "GRAFT_HOST"} for name in env_of(objects))
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_named_twice(case: str) -> None:
    names = [(e["kind"], e["metadata"].get("namespace"), e["metadata"]["name"]) for e in golden(case)]
    assert len(names) == len(set(names))


def test_install_yaml_is_the_chart_with_its_own_values() -> None:
    ours = documents(INSTALL.read_text(encoding="utf-8"))
    assert [each["kind"] for each in ours[:3]] == ["Namespace", *["CustomResourceDefinition"] * 2]
    assert env_of(ours) == env_of(golden("default"))
    text = INSTALL.read_text(encoding="utf-8")
    assert "elm" not in re.sub(r"#.*", "", text.partition("kind: ServiceAccount")[2])
    specs: list[Any] = []
    for path in sorted((ROOT / "manifests" / "crds").glob("*.yaml")):
        specs += [each["spec"] for each in documents(path.read_text(encoding="utf-8"))]
    assert [each["spec"] for each in of_kind(ours, "CustomResourceDefinition")] == specs
