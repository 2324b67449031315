"""The generated CRDs: in step with the models, and after the API conventions that kube-api-linter checks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from graft_core.api.crd import KINDS, crd_files, object_schema, render_crd
from graft_core.api.generated import run_generator
from graft_core.api.reference import reference_files
from graft_core.api.schema import structural_schema
from graft_core.api.validation import apply_defaults, parse_object, validate_object
from tests.core.api.objects import a_job, a_release

ROOT = Path(__file__).parents[2]

ALLOWED = {
    # A phase is derived from the conditions and shown to people; nothing reads it back. 2026-11-21.
    "FineTuneJob.status.phase": "phase",
    "ModelRelease.status.phase": "phase",
    # A JSON Schema of the user's own, bounded by the size of an object; check_output_schema looks into it. 2026-11-21.
    "FineTuneJob.spec.task.outputSchema": "free map",
    "ModelRelease.spec.model.task.outputSchema": "free map",
    # Keys are names of fields, labels, metrics or headers that only the user knows; their number is bounded. 2026-11-21.
    "FineTuneJob.spec.training.classWeights": "map",
    "FineTuneJob.spec.training.classWeights.*": "map",
    "FineTuneJob.spec.sweep.parameters": "map",
    "FineTuneJob.spec.runtime.nodeSelector": "map",
    "FineTuneJob.status.metrics": "map",
    "FineTuneJob.status.baselines": "map",
    "FineTuneJob.status.baselines.*": "map",
    "ModelRelease.spec.model.fineTuneJobSelector.matchLabels": "map",
    "ModelRelease.spec.routing.rules[].when.header": "map",
}
"""Exceptions from the conventions, each with its reason and day."""


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk a schema."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}.*")


ALL = [
    (path, node)
    for kind, found in KINDS.items()
    for part in ("spec", "status")
    for path, node in nodes(structural_schema(getattr(found, part)), f"{kind}.{part}")
]


def paths(broken: Iterator[str]) -> list[str]:
    return sorted(set(broken))


def test_files_are_in_step_with_the_models() -> None:
    assert run_generator(crd_files(), ["--check", "--root", str(ROOT)]) == 0
    assert run_generator(reference_files(), ["--check", "--root", str(ROOT)]) == 0


def test_a_file_out_of_step_is_shown_as_a_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {Path("a/b.txt"): "new\n"}
    assert run_generator(files, ["--check", "--root", str(tmp_path)]) == 1
    assert "+new" in capsys.readouterr().out
    assert run_generator(files, ["--write", "--root", str(tmp_path)]) == 0
    assert run_generator(files, ["--check", "--root", str(tmp_path)]) == 0


def test_every_field_tells_what_it_is_for() -> None:
    # Items and values are told by their list or map.
    untold = (path for path, node in ALL if not path.endswith(("[]", "*")) and not node.get("description"))
    assert paths(untold) == []


def test_texts_lists_and_maps_are_bounded() -> None:
    texts = (p for p, n in ALL if n["type"] == "string" and "enum" not in n and "maxLength" not in n)
    lists = (p for p, n in ALL if n["type"] == "array" and "maxItems" not in n)
    maps = (p for p, n in ALL if "additionalProperties" in n and "maxProperties" not in n)
    assert paths(texts) == []
    assert paths(lists) == []
    assert paths(maps) == []


def test_there_are_no_floats_nulls_or_unions() -> None:
    banned = {"nullable", "oneOf", "anyOf", "allOf", "not", "$ref", "title", "const"}
    assert {n["type"] for _, n in ALL} <= {"string", "integer", "boolean", "array", "object"}
    assert paths(p for p, n in ALL if banned & set(n)) == []


def test_required_fields_have_no_default() -> None:
    both = (f"{p}.{name}" for p, n in ALL for name in n.get("required", []) if "default" in n["properties"][name])
    assert paths(both) == []


def test_list_types_are_set_and_conditions_come_first_as_a_map() -> None:
    assert paths(p for p, n in ALL if n["type"] == "array" and "x-kubernetes-list-type" not in n) == []
    for kind, found in KINDS.items():
        status = structural_schema(found.status)
        assert next(iter(status["properties"])) == "conditions", kind
        assert status["properties"]["conditions"]["x-kubernetes-list-map-keys"] == ["type"]
        assert "observedGeneration" in status["properties"]


def test_exceptions_are_those_that_are_allowed() -> None:
    found = {p: "map" for p, n in ALL if "additionalProperties" in n}
    found |= {p: "free map" for p, n in ALL if n.get("x-kubernetes-preserve-unknown-fields")}
    found |= {p: "phase" for p, _ in ALL if p.endswith(".phase")}
    assert found == ALLOWED


@pytest.mark.parametrize("kind", list(KINDS))
def test_rules_point_to_fields_that_exist_and_have_messages(kind: str) -> None:
    for path, node in nodes(object_schema(kind), kind):
        for rule in node.get("x-kubernetes-validations", []):
            assert rule["message"], path
            name = rule.get("fieldPath", "").removeprefix(".").split(".")[0]
            assert not name or name in node["properties"], f"{path}: {rule['fieldPath']}"


@pytest.mark.parametrize(("kind", "short"), [("FineTuneJob", "ftj"), ("ModelRelease", "mr")])
def test_names_columns_and_subresource(kind: str, short: str) -> None:
    spec = render_crd(kind)["spec"]
    version = spec["versions"][0]
    assert spec["names"]["shortNames"] == [short]
    assert spec["names"]["categories"] == ["graft"]
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]][-1] == "Age"


@pytest.mark.parametrize("kind", list(KINDS))
def test_yaml_reads_the_same_in_every_parser(kind: str) -> None:
    text = next(text for path, text in crd_files().items() if kind.lower() in path.name)
    assert yaml.safe_load(text) == render_crd(kind)
    # YAML 1.2 takes 2e-4 for a number where PyYAML does not.
    assert "default: 2e-4" not in text


@pytest.mark.parametrize("doc", [a_job(), a_release()], ids=["job", "release"])
def test_models_and_schema_agree_on_defaults(doc: dict[str, Any]) -> None:
    spec = parse_object(doc).spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert apply_defaults(doc)["spec"] == spec
    assert validate_object({**doc, "spec": spec}) == []
    Draft202012Validator(object_schema(doc["kind"])).validate(apply_defaults(doc))
