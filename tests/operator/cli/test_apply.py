"""`graft apply` and `graft validate`: all or nothing, every fault with its file and field."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import Served, a_job, a_release


def write(path: Path, *bodies: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\n".join(yaml.safe_dump(body) for body in bodies), encoding="utf-8")
    return path


def test_a_file_is_created_then_unchanged_then_configured(ask: Graft, served: Served, tmp_path: Path) -> None:
    file = write(tmp_path / "release.yaml", a_release())

    assert ask("apply", "-f", file).out == "modelrelease.graft.dev/shop created\n"
    assert ask("apply", "-f", file).out == "modelrelease.graft.dev/shop unchanged\n"
    write(file, a_release(paused=True))
    assert ask("apply", "-f", file).out == "modelrelease.graft.dev/shop configured\n"
    assert served.read("mr", "shop")["spec"]["paused"] is True


def test_a_folder_is_read_in_the_order_of_names_and_not_below(ask: Graft, served: Served, tmp_path: Path) -> None:
    write(tmp_path / "all" / "b.yml", a_release("second"))
    (tmp_path / "all" / "a.json").write_text(json.dumps(a_job("first")))
    write(tmp_path / "all" / "deeper" / "c.yaml", a_job("third"))
    (tmp_path / "all" / "notes.txt").write_text("not a manifest")

    ran = ask("apply", "-f", tmp_path / "all")

    assert ran.out == "finetunejob.graft.dev/first created\nmodelrelease.graft.dev/second created\n"


def test_several_files_and_a_list_are_applied_in_one_go(ask: Graft, served: Served, tmp_path: Path) -> None:
    one = write(tmp_path / "one.yaml", {"apiVersion": "v1", "kind": "List", "items": [a_job("a"), a_job("b")]})
    two = write(tmp_path / "two.yaml", None, a_job("c"))

    assert ask("apply", "-f", one, "-f", two, "-f", one).code == 0
    assert served.names("ftj") == ["a", "b", "c"]


def test_standard_input_is_read_for_a_dash(ask: Graft, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(yaml.safe_dump(a_job()).encode())))

    assert ask("apply", "-f", "-").code == 0
    assert served.names("ftj") == ["texts"]


@pytest.mark.parametrize("flag", ["--dry-run", "--dry-run=server"])
def test_a_dry_run_changes_nothing(ask: Graft, served: Served, tmp_path: Path, flag: str) -> None:
    ran = ask("apply", flag, "-f", write(tmp_path / "job.yaml", a_job()))

    assert ran.out == "finetunejob.graft.dev/texts created (dry run)\n"
    assert served.names("ftj") == []


def test_relative_uris_are_those_of_the_manifests_own_folder(ask: Graft, served: Served, tmp_path: Path) -> None:
    data = {
        "train": ["file:./data/train.jsonl", "file://./more.csv"],
        "test": ["file:../test.csv", "s3://bucket/x.csv"],
    }
    body = a_job(dataset=data, output={"uri": "file:out/"})

    ran = ask("apply", "-f", write(tmp_path / "project" / "job.yaml", body))

    assert (ran.code, ran.err) == (0, "")
    spec = served.read("ftj", "texts")["spec"]
    assert spec["dataset"]["train"] == [
        f"file://{tmp_path}/project/data/train.jsonl",
        f"file://{tmp_path}/project/more.csv",
    ]
    assert spec["dataset"]["test"] == [f"file://{tmp_path}/test.csv", "s3://bucket/x.csv"]
    assert spec["output"]["uri"] == f"file://{tmp_path}/project/out/"


def test_a_status_in_a_file_is_dropped_with_a_warning(ask: Graft, served: Served, tmp_path: Path) -> None:
    file = write(tmp_path / "job.yaml", {**a_job(), "status": {"phase": "Succeeded"}})

    ran = ask("apply", "-f", file)

    assert ran.err == f"warning: {file}: status is Graft's to write; the one in the file is ignored\n"
    assert (ran.code, served.read("ftj", "texts")["status"]) == (0, {})


def test_one_bad_document_means_that_nothing_changes(ask: Graft, served: Served, tmp_path: Path) -> None:
    file = write(tmp_path / "both.yaml", a_job("good"), a_job("bad", method={"objective": "guess"}))

    ran = ask("apply", "-f", file)

    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.startswith(
        f"error: nothing was changed: {file}, document 2: FineTuneJob/bad: spec.method.objective: "
    )
    assert served.names("ftj") == []


def test_all_faults_of_all_files_are_told_in_one_go(ask: Graft, served: Served, tmp_path: Path) -> None:
    torn = tmp_path / "a-torn.yaml"
    torn.write_text("kind: FineTuneJob\n  name: [")
    nameless = write(tmp_path / "b-nameless.yaml", {**a_job(), "metadata": {}})
    wrong = write(
        tmp_path / "c-wrong.yaml", a_job("x", method={"objective": "guess"}), a_job("y", training={"epochs": 0})
    )

    ran = ask("apply", "-f", torn, "-f", nameless, "-f", wrong)

    assert ran.code == 1
    assert "nothing was changed; " in ran.err
    assert f"  {torn}: is not valid YAML: line 2, column 7: " in ran.err
    assert f"  {nameless}: metadata.name is missing; expected a name such as 'my-job'" in ran.err
    assert f"  {wrong}, document 1: FineTuneJob/x: spec.method.objective: " in ran.err
    assert f"  {wrong}, document 2: FineTuneJob/y: spec.training.epochs: " in ran.err
    assert served.names("ftj") == []


def test_faults_of_form_are_told_without_a_server_too(graft: Graft, tmp_path: Path) -> None:
    file = write(tmp_path / "job.yaml", {**a_job(), "kind": "Job"}, a_job())

    ran = graft("apply", "-f", file, "--state", tmp_path / "none")

    assert ran.err == (
        f"error: nothing was changed: {file}, document 1: kind 'Job' is not known or not usable;"
        " expected FineTuneJob or ModelRelease\n"
    )


def test_a_namespace_beside_another_n_is_refused(ask: Graft, served: Served, tmp_path: Path) -> None:
    body = a_job()
    body["metadata"]["namespace"] = "ml"
    file = write(tmp_path / "job.yaml", body)

    assert ask("apply", "-f", file, "-n", "shop").err == (
        f"error: nothing was changed: {file}: metadata.namespace 'ml' is not the 'shop' of -n\n"
    )
    assert ask("apply", "-f", file).code == 0
    assert ask("get", "ftj", "-n", "ml", "-o", "name").out == "finetunejob.graft.dev/texts\n"


def test_apply_without_a_server_says_how_to_start_one(graft: Graft, tmp_path: Path) -> None:
    ran = graft("apply", "-f", write(tmp_path / "job.yaml", a_job()))

    assert ran.code == 1
    assert ran.err.startswith("error: no `graft up` serves the state folder '.graft'; start it with `graft up")


def test_apply_without_a_file_is_wrong_usage(graft: Graft) -> None:
    ran = graft("apply")

    assert ran.code == 2
    assert "Missing option '-f'" in ran.err


def test_validate_says_yes_without_a_server(graft: Graft, tmp_path: Path) -> None:
    file = write(tmp_path / "both.yaml", a_job(), {**a_release(), "status": {}})

    ran = graft("validate", "-f", file)

    assert ran.out == (
        f"{file}, document 1: FineTuneJob/texts is valid\n{file}, document 2: ModelRelease/shop is valid\n"
    )
    assert ran.err.startswith("warning: ")
    assert ran.code == 0


def test_validate_lists_the_faults_of_form_and_of_fields(graft: Graft, tmp_path: Path) -> None:
    file = write(tmp_path / "both.yaml", a_job(training={"epochs": 0}), {**a_release(), "apiVersion": "graft.dev/v2"})

    ran = graft("validate", "-f", file)

    assert ran.code == 1
    assert ran.err.startswith("error: not valid; 2 faults:\n")
    assert "document 1: FineTuneJob/texts: spec.training.epochs: " in ran.err
    assert "document 2: apiVersion 'graft.dev/v2' is not known or not usable; expected 'graft.dev/v1alpha1'" in ran.err


ODD_VALUES = {
    "a number that is none": ("training: {epochs: .nan}", "spec.training.epochs"),
    "an endless number": ("training: {epochs: .inf}", "spec.training.epochs"),
    "half a character": ('task: {type: classification, labels: ["\\ud800", b]}', ""),
    "a text for a number": ('method: {objective: classification, adapter: {r: "16"}}', "spec.method.adapter.r"),
    "an unknown field": ("trainig: {epochs: 3}", "spec.trainig"),
    "a null": ("model: null", "spec.model"),
}


@pytest.mark.parametrize(("line", "field"), ODD_VALUES.values(), ids=ODD_VALUES.keys())
def test_odd_values_are_refused_with_file_and_field(
    ask: Graft, served: Served, tmp_path: Path, line: str, field: str
) -> None:
    file = tmp_path / "job.yaml"
    name = line.partition(":")[0]
    body = a_job()
    body["spec"].pop(name, None)
    file.write_text(
        yaml.safe_dump({**body, "spec": "SPEC"}).replace("SPEC", f"{{{json.dumps(body['spec'])[1:-1]}, {line}}}")
    )

    ran = ask("apply", "-f", file)

    assert ran.code == 1
    assert str(file) in ran.err
    assert field in ran.err
    assert served.names("ftj") == []
