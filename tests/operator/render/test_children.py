"""What children and arms are given, whole."""

import json
from typing import Any

import pytest

from graft_core.contracts.predictor_config import PredictorConfig
from graft_core.contracts.train_request import Pinned, TrainRequest
from graft_operator.render.limits import Limits, arm_limits, child_limits, quantity
from graft_operator.render.names import arm_name, child_name
from graft_operator.render.predictor_config import render_arm
from graft_operator.render.train_request import output_prefix, render_train_request
from tests.builders import BASE_REVISION, JOB_UID, RELEASE_UID, a_finetunejob, a_release

PINNED = Pinned(dataset_digest="sha256:" + "d" * 64, base_revision=BASE_REVISION, labels=("a", "b"))


def test_a_train_request_holds_the_whole_spec_and_where_to_write() -> None:
    job = a_finetunejob({"resources": {"gpus": 1, "cpu": "1500m", "memory": "2Gi"}}, generation=3)
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    request = render_train_request(job, pinned=PINNED, default_output_uri="file:///state/store/", traceparent=trace)
    document = json.loads(request.to_json())
    spec = json.loads(job.spec.model_dump_json(by_alias=True, exclude_none=True))
    assert document == {
        "schemaVersion": "v1",
        "job": {"namespace": "default", "name": "tune", "uid": JOB_UID, "generation": 3},
        **{part: spec[part] for part in ("task", "model", "dataset", "method", "training", "evaluation")},
        "outputPrefix": "file:///state/store/default/tune/",
        "compute": {"gpus": 1, "threads": 2},
        "pinned": {"datasetDigest": PINNED.dataset_digest, "baseRevision": BASE_REVISION, "labels": ["a", "b"]},
        "traceparent": trace,
    }
    assert TrainRequest.model_validate_json(request.to_json()) == request


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        (None, "file:///default/default/tune/"),
        ("s3://bucket/adapters/", "s3://bucket/adapters/default/tune/"),
        ("file:///x", "file:///x/default/tune/"),
    ],
)
def test_artifacts_go_below_the_jobs_own_prefix(uri: str | None, prefix: str) -> None:
    assert output_prefix(a_finetunejob({"output": {"uri": uri}}), "file:///default/") == prefix


def test_an_arm_is_given_what_its_release_says() -> None:
    spec: dict[str, Any] = {
        "engine": {"args": ["--num-beams=2"], "env": [{"name": "A", "value": "1"}], "resources": {"gpus": 1}},
        "predictor": {"resources": {"cpu": "2", "memory": "512Mi"}, "timeoutSeconds": 7, "maxConcurrency": 9},
        "cache": {"memory": {"maxEntries": 5}},
        "guardrails": {"input": [{"type": "max-tokens", "max": 5}]},
        "requestLog": {"uri": "file:///log/"},
    }
    digest = "sha256:" + "a" * 64
    recipe = render_arm(a_release(spec, generation=0), revision="b" * 10, uri="file:///store/x/", digest=digest)
    assert (recipe.env, recipe.limits) == ({"A": "1"}, Limits(threads=2, memory_bytes=512 * 2**20))
    document = json.loads(recipe.config.to_json())
    assert document["release"] == {"namespace": "default", "name": "shop", "uid": RELEASE_UID, "generation": 1}
    assert document["adapter"] == {"uri": "file:///store/x/", "digest": digest}
    assert document["engine"] == {"type": "transformers", "gpus": 1, "threads": 2, "args": ["--num-beams=2"]}
    assert (document["revision"], document["timeoutSeconds"], document["maxConcurrency"]) == ("b" * 10, 7, 9)
    assert document["cache"]["memory"] == {"maxEntries": 5}
    assert document["guardrails"]["input"][0]["max"] == 5
    assert document["requestLog"]["uri"] == "file:///log/"
    assert PredictorConfig.model_validate_json(recipe.config.to_json()) == recipe.config


@pytest.mark.parametrize(
    ("text", "value"),
    [("8", 8), ("500m", 0.5), ("1.5k", 1500), ("64Gi", 64 * 2**30), ("2M", 2e6), ("3Ki", 3072), ("1Ti", 2**40)],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: str, value: float) -> None:
    assert float(quantity(text)) == value


def test_cpu_is_rounded_up_to_whole_threads_and_nothing_asked_is_no_limit() -> None:
    assert child_limits(a_finetunejob({"resources": {"cpu": "100m"}})) == Limits(threads=1)
    assert arm_limits(a_release()) == Limits()


def test_names_follow_from_uid_and_role_and_fit_a_label() -> None:
    names = {child_name("n" * 50, uid, role) for uid in (JOB_UID, RELEASE_UID) for role in ("check", "train")}
    assert len(names) == 4
    assert all(len(name) <= 63 for name in (*names, arm_name("n" * 50, JOB_UID, "a" * 10)))
    assert child_name("tune", JOB_UID, "check") == child_name("tune", JOB_UID, "check")


def test_a_name_that_is_cut_at_a_dash_does_not_end_in_two() -> None:
    assert "--" not in child_name("n" * 39 + "-tail", JOB_UID, "train")
