"""Bad FineTuneJobs and ModelReleases: each is refused with the field, and with words to act on.

The numbers are those of docs/develop/faults.md.
"""

import time
from typing import Any

import pytest

from graft_core.api.v1alpha1.finetunejob import FineTuneJob
from graft_core.api.validation import apply_defaults, parse_object, validate_object
from graft_core.errors import InvalidInput
from tests.core.api.objects import COMMIT, REMOVED, a_job, a_release, changed

NAN = float("nan")
DIGEST = "0" * 64

JOBS: list[tuple[str, str, object, str, str]] = [
    # number, field set, value, path of the fault, words
    ("1", "spec", {}, "spec.task", "is required"),
    ("1b", "spec", None, "spec", "is required"),
    ("1c", "spec", REMOVED, "spec", "is required"),
    ("2", "spec.datasett", {}, "spec.datasett", "unknown field; did you mean dataset?"),
    ("2b", "spec.method.adapter", {"rank": 16}, "spec.method.adapter.rank", "unknown field; expected one of type, r, alpha"),
    ("3", "spec.method.adapter", {"r": "16"}, "spec.method.adapter.r", "'16' is not valid; expected a whole number, without quotes (Rank)"),
    ("3b", "spec.suspend", "yes", "spec.suspend", "expected true or false"),
    ("3c", "spec.training", {"learningRate": 0.0002}, "spec.training.learningRate", "numbers with a fraction are written in quotes"),
    ("3d", "spec.dataset.train", "s3://bucket/x", "spec.dataset.train", "expected a list"),
    ("4", "spec.method.adapter", {"r": 0}, "spec.method.adapter.r", "0 is not valid; expected 1 to 512"),
    ("4b", "spec.method.adapter", {"r": -1}, "spec.method.adapter.r", "-1 is not valid"),
    ("4c", "spec.method.adapter", {"r": 10**9}, "spec.method.adapter.r", "1000000000 is not valid"),
    ("5", "spec.method.adapter", {"alpha": NAN}, "spec.method.adapter.alpha", "nan is not a number"),
    ("5b", "spec.method.adapter", {"alpha": "1e400"}, "spec.method.adapter.alpha", "expected a whole number"),
    ("5c", "spec.training", {"learningRate": "1e400"}, "spec.training.learningRate", "expected a decimal number"),
    ("6", "spec.training", {"learningRate": "0"}, "spec.training.learningRate", "must be over 0 and at most 1"),
    ("6b", "spec.training", {"learningRate": "-1e-4"}, "spec.training.learningRate", "'-1e-4' is not valid; expected a decimal number of at least 0"),
    ("6c", "spec.training", {"learningRate": "10"}, "spec.training.learningRate", "must be over 0 and at most 1"),
    ("7", "spec.training", {"epochs": 10**6}, "spec.training.epochs", "expected 1 to 1000"),
    ("8", "spec.training", {"maxLength": 0}, "spec.training.maxLength", "expected 8 to 1048576"),
    ("8b", "spec.training", {"maxLength": 3}, "spec.training.maxLength", "expected 8 to 1048576"),
    ("8c", "spec.training", {"maxLength": 10**7}, "spec.training.maxLength", "expected 8 to 1048576"),
    ("9", "spec.method.adapter", {"targetModules": []}, "spec.method.adapter.targetModules", "expected 1 to 64 items"),
    ("9b", "spec.method.adapter", {"targetModules": ["q", "q"]}, "spec.method.adapter.targetModules", "must not repeat a name"),
    ("9c", "spec.method.adapter", {"targetModules": ["(a+)+$"]}, "spec.method.adapter.targetModules[0]", "is not valid"),
    ("10", "spec.model.revision", "main", "spec.model.revision", "the 40 lower-case hex digits of a commit; branches and tags move"),
    ("10b", "spec.model.revision", "v1.0", "spec.model.revision", "branches and tags move"),
    ("10c", "spec.model.revision", COMMIT[:7], "spec.model.revision", "branches and tags move"),
    ("10d", "spec.model.revision", COMMIT + "0", "spec.model.revision", "0 to 40 characters, it has 41"),
    ("10e", "spec.model.revision", COMMIT.upper(), "spec.model.revision", "lower-case hex digits"),
    ("10f", "spec.model.revision", REMOVED, "spec.model.revision", "revision is required for a hub model"),
    ("10g", "spec.model.id", "file:///models/base", "spec.model.revision", "revision is only for hub models"),
    ("11", "spec.model.id", "a..b/c", "spec.model.id", "id must not contain '..'"),
    ("11b", "spec.model.id", "a//b", "spec.model.id", "owner/name of a hub model"),
    ("11c", "spec.model.id", "a/b c", "spec.model.id", "owner/name of a hub model"),
    ("11d", "spec.model.id", "a/b\x00", "spec.model.id", "owner/name of a hub model"),
    ("11e", "spec.model.id", "Qwеn/Qwen2.5", "spec.model.id", "plain ASCII names"),
    ("11f", "spec.model.id", "a/" + "b" * 300, "spec.model.id", "3 to 300 characters, it has 302"),
    ("11g", "spec.model.id", "file:///a\x00b", "spec.model.id", "is not valid"),
    ("12", "spec.dataset.train", ["file:data.csv"], "spec.dataset.train[0]", "s3://bucket/key, file:///path"),
    ("12b", "spec.dataset.train", ["http://host/data"], "spec.dataset.train[0]", "s3://bucket/key, file:///path"),
    ("12c", "spec.dataset.train", ["s3:///key"], "spec.dataset.train[0]", "s3://bucket/key, file:///path"),
    ("12d", "spec.dataset.train", ["s3://bucket/../../x"], "spec.dataset.train", "a URI must not contain '..'"),
    ("12e", "spec.dataset.train", ["s3://AKIA:topsecret@bucket/x"], "spec.dataset.train[0]", "the value is not valid; expected s3://bucket/key"),
    ("12f", "spec.dataset.train", ["s3://bucket/x\ny"], "spec.dataset.train[0]", "without credentials, '?', '#' and white space"),
    ("12g", "spec.dataset.test", ["s3://bucket/../x"], "spec.dataset.test", "a URI must not contain '..'"),
    ("13", "spec.output", {"uri": "s3://legal-datalake/rephrase/"}, "spec.output.uri", "output.uri must not be above the data"),
    ("13b", "spec.output", {"uri": "s3://bucket/../other"}, "spec.output.uri", "uri must not contain '..'"),
    ("14", "metadata.name", "a" * 64, "metadata.name", "at most 50 of a-z, 0-9 and '-'"),
    ("14b", "metadata.name", "a.b", "metadata.name", "so it has no dots"),
    ("14c", "metadata.name", "Rephrase", "metadata.name", "at most 50 of a-z"),
    ("14d", "metadata.name", REMOVED, "metadata.name", "is required"),
    ("15", "spec.resources", {"gpus": -1}, "spec.resources.gpus", "expected 0 to 64"),
    ("15b", "spec.resources", {"gpus": 10**6}, "spec.resources.gpus", "expected 0 to 64"),
    ("15c", "spec.resources", {"memory": "0"}, "spec.resources.memory", "a quantity over 0"),
    ("15d", "spec.resources", {"memory": "1e3Gi"}, "spec.resources.memory", "a quantity over 0"),
    ("15e", "spec.resources", {"cpu": "-1"}, "spec.resources.cpu", "a quantity over 0"),
    ("15f", "spec.resources", {"memory": "99999999Ti"}, "spec.resources.memory", "a quantity over 0"),
    ("15g", "spec.resources", {"nodes": 2}, "spec.resources.nodes", "needs runtime.engine: TrainJob"),
    ("16", "spec.runtime", {"image": "host/trainer@sha256:abc"}, "spec.runtime.image", "sha256: and 64 hex digits"),
    ("16b", "spec.runtime", {"image": "trainer:1 --privileged"}, "spec.runtime.image", "an image such as"),
    ("18", "spec.runtime", {"tolerations": [{"operator": "Exists"}]}, "spec.runtime.tolerations[0].key", "is required"),
    ("18b", "spec.runtime", {"tolerations": [{"key": "", "operator": "Exists"}]}, "spec.runtime.tolerations[0].key", "1 to 316 characters, it has 0"),
    ("18c", "spec.runtime", {"tolerations": [{"key": "node-role.kubernetes.io/control-plane"}]}, "spec.runtime.tolerations", "does not run on the control plane"),
    ("18d", "spec.runtime", {"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}}, "spec.runtime.nodeSelector", "does not run on the control plane"),
    ("19", "spec.runtime", {"serviceAccountName": "admin"}, "spec.runtime.serviceAccountName", "unknown field"),
    ("19b", "spec.runtime", {"securityContext": {"privileged": True}}, "spec.runtime.securityContext", "unknown field"),
    ("19c", "spec.runtime", {"volumes": [{"hostPath": {"path": "/"}}]}, "spec.runtime.volumes", "unknown field"),
    ("19d", "spec.runtime", {"initContainers": []}, "spec.runtime.initContainers", "unknown field"),
    ("19e", "spec.template", {}, "spec.template", "unknown field"),
    ("20", "spec.dataset.secretRef", {"name": "s3", "namespace": "other"}, "spec.dataset.secretRef.namespace", "unknown field"),
    ("20b", "spec.dataset.secretRef", {"name": "other/s3"}, "spec.dataset.secretRef.name", "in the same namespace"),
    ("21", "metadata.annotations", {"note": "x" * 300_000}, "metadata.annotations", "at most 262144 fit"),
    ("21b", "spec.task.system", "x" * 1_600_000, "", "the object has 16"),
    ("22", "metadata.labels", {"graft.dev/uid": "1"}, "metadata.labels.graft.dev/uid", "belong to the operator"),
    ("22b", "metadata.annotations", {"graft.dev/last": "1"}, "metadata.annotations.graft.dev/last", "belong to the operator"),
    ("22c", "metadata.ownerReferences", [{"apiVersion": "graft.dev/v1alpha1", "kind": "ModelRelease", "name": "a", "uid": "1"}], "metadata.ownerReferences[0]", "set by the operator"),
    ("25", "spec.evaluation", {"gates": [{"metric": "exact_match", "min": "0.9", "max": "0.1"}]}, "spec.evaluation.gates[0].min", "min must not be above max"),
    ("25b", "spec.evaluation", {"gates": [{"metric": "exact_match"}]}, "spec.evaluation.gates[0]", "needs min, max or minDelta"),
    ("25c", "spec.evaluation", {"gates": [{"metric": "x{y}", "min": "1"}]}, "spec.evaluation.gates[0].metric", "is not valid"),
    ("25d", "spec.evaluation", {"gates": [{"metric": "exact_match", "minDelta": "0.1"}]}, "spec.evaluation.gates[0].versus", "go together"),
    ("25e", "spec.evaluation", {"gates": [{"metric": "m", "min": "0", "confidence": "0.9"}]}, "spec.evaluation.gates[0].confidence", "confidence needs minDelta"),
    ("25f", "spec.evaluation", {"gates": [{"metric": "m", "minDelta": "0", "versus": "base", "confidence": "0.2"}]}, "spec.evaluation.gates[0].confidence", "must be in [0.5, 1)"),
    ("31", "spec.runtime", {"activeDeadlineSeconds": 0}, "spec.runtime.activeDeadlineSeconds", "expected 1 to 2592000"),
    ("31b", "spec.runtime", {"activeDeadlineSeconds": 2**31}, "spec.runtime.activeDeadlineSeconds", "expected 1 to 2592000"),
    ("task", "spec.task.labels", ["a", "b"], "spec.task.labels", "only for type classification"),
    ("task2", "spec.method.objective", "classification", "spec.method.objective", "go together"),
    ("split", "spec.dataset.split", {"validation": "0.5", "test": "0.5"}, "spec.dataset.split", "leave at least 0.1 for training"),
    ("skip", "spec.dataset.maxInvalidFraction", "0.1", "spec.dataset.maxInvalidFraction", "needs onInvalidRecord: skip"),
    ("date", "spec.task.promptVersion", __import__("datetime").date(2026, 1, 31), "spec.task.promptVersion", "is a date; write it as text"),
    ("key", "spec.training", {"classWeights": {"label": {True: "2.0"}}}, "spec.training.classWeights.label", "has the key True; put it in quotes: YAML reads on, off"),
    ("key2", "spec.training", {"classWeights": {3: {}}}, "spec.training.classWeights", "has the key 3; put it in quotes: keys are texts"),
    ("bool", "spec.training", {"seed": True}, "spec.training.seed", "true is not valid; expected a whole number"),
    ("long", "spec.task.promptVersion", "v" * 100, "spec.task.promptVersion", "0 to 63 characters, it has 100"),
    ("enum", "spec.method.objective", "ppo", "spec.method.objective", "'ppo' is not valid; expected one of sft, dpo, classification"),
    ("kind", "kind", "FinetuneJob", "kind", "expected one of FineTuneJob, ModelRelease"),
    ("version", "apiVersion", "graft.dev/v1", "apiVersion", "expected 'graft.dev/v1alpha1'"),
    ("meta", "metadata", REMOVED, "metadata", "is missing"),
    ("ns", "metadata.namespace", "ML", "metadata.namespace", "at most 63"),
]  # fmt: skip

RELEASES: list[tuple[str, str, object, str, str]] = [
    ("16", "spec.engine", {"image": "x@sha256:abc"}, "spec.engine.image", "sha256: and 64 hex digits"),
    *[
        (f"17 {name}", "spec.engine", {"env": [{"name": name, "value": "x"}]}, "spec.engine.env[0].name", "are not allowed")
        for name in ("LD_PRELOAD", "PYTHONPATH", "HF_TOKEN", "PATH", "GRAFT_X", "DYLD_X")
    ],
    ("17b", "spec.engine", {"env": [{"name": "A", "value": "s3cr3t" * 200_000}]}, "spec.engine.env[0].value", "the value is not valid; expected 0 to 4096 characters"),
    ("24", "spec.rollout", {"steps": []}, "spec.rollout.steps", "expected 1 to 20 items"),
    ("24b", "spec.rollout", {"steps": [{"weight": 25}, {"weight": 5}]}, "spec.rollout.steps", "must rise from each to the next"),
    ("24c", "spec.rollout", {"steps": [{"weight": 5}, {"weight": 5}]}, "spec.rollout.steps", "must rise from each to the next"),
    ("24d", "spec.rollout", {"steps": [{"weight": 101}]}, "spec.rollout.steps[0].weight", "expected 1 to 99"),
    ("24e", "spec.rollout", {"steps": [{"weight": -1}]}, "spec.rollout.steps[0].weight", "expected 1 to 99"),
    ("24f", "spec.rollout", {"steps": [{"weight": 5, "minDurationSeconds": 0}]}, "spec.rollout.steps[0].minDurationSeconds", "expected 1 to 604800"),
    ("24g", "spec.rollout", {"steps": [{"weight": 1}] * 10**4}, "spec.rollout.steps", "expected 1 to 20 items"),
    ("25", "spec.rollout", {"analysis": {"checks": [{"metric": "error_rate", "min": "2", "max": "1"}]}}, "spec.rollout.analysis.checks[0].min", "min must not be above max"),
    ("25b", "spec.rollout", {"analysis": {"checks": [{"metric": "vibes", "max": "1"}]}}, "spec.rollout.analysis.checks[0].metric", "expected one of error_rate, latency_p95"),
    ("25c", "spec.model", {"fineTuneJobSelector": {"matchLabels": {"app": '"} or vector(1)'}}}, "spec.model.fineTuneJobSelector.matchLabels.app", "a label's value"),
    ("25d", "spec.rollout", {"analysis": {"checks": [{"metric": "error_rate"}]}}, "spec.rollout.analysis.checks[0]", "a check needs one of"),
    ("25e", "spec.rollout", {"analysis": {"confidence": "1"}}, "spec.rollout.analysis.confidence", "must be in [0.5, 1)"),
    ("25f", "spec.rollout", {"analysis": {"checks": [{"metric": "error_rate", "maxRatio": "0"}]}}, "spec.rollout.analysis.checks[0].maxRatio", "must be above 0"),
    ("25g", "spec.rollout", {"analysis": {"source": {}}}, "spec.rollout.analysis.source", "exactly one of prometheus and scrape"),
    ("26", "spec.model.fineTuneJobRef.namespace", "other", "spec.model.fineTuneJobRef.namespace", "unknown field"),
    ("union", "spec.model.adapter", {"uri": "s3://bucket/a", "digest": f"sha256:{DIGEST}"}, "spec.model", "exactly one of fineTuneJobRef"),
    ("union2", "spec.model", {}, "spec.model", "exactly one of fineTuneJobRef"),
    ("union3", "spec.model.task", {"type": "chat"}, "spec.model.task", "base and task go together"),
    ("guard", "spec.guardrails", {"input": [{"type": "max-tokens"}]}, "spec.guardrails.input[0].max", "max goes with type max-tokens"),
    ("guard2", "spec.guardrails", {"input": [{"type": "prompt-injection", "action": "redact"}]}, "spec.guardrails.input[0].action", "only pii can be redacted"),
    ("guard3", "spec.guardrails", {"output": [{"type": "pii", "entities": ["EMAIL"], "action": "repair"}]}, "spec.guardrails.output[0].action", "only json-schema can be repaired"),
    ("guard4", "spec.guardrails", {"output": [{"type": "json-schema", "maxRepairs": 1}]}, "spec.guardrails.output[0].maxRepairs", "goes with action repair"),
    ("guard5", "spec.guardrails", {"output": [{"type": "json-schema", "entities": ["EMAIL"]}]}, "spec.guardrails.output[0].entities", "goes with type pii"),
    ("replicas", "spec.predictor", {"replicas": {"min": 3, "max": 1}}, "spec.predictor.replicas.min", "must not be above max"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "field", "value", "path", "words"), JOBS, ids=[row[0] for row in JOBS])
def test_a_bad_job_is_refused_by_field(number: str, field: str, value: object, path: str, words: str) -> None:
    assert_refused(changed(a_job(), field, value), path, words)


@pytest.mark.parametrize(("number", "field", "value", "path", "words"), RELEASES, ids=[row[0] for row in RELEASES])
def test_a_bad_release_is_refused_by_field(number: str, field: str, value: object, path: str, words: str) -> None:
    assert_refused(changed(a_release(), field, value), path, words)


def assert_refused(doc: dict[str, Any], path: str, words: str) -> None:
    faults = validate_object(doc)
    assert any(fault.path == path and words in fault.message for fault in faults), "\n".join(map(str, faults))
    told = "\n".join(map(str, faults))
    assert "topsecret" not in told
    assert "s3cr3t" not in told
    assert len(told) < 4000
    with pytest.raises(InvalidInput) as caught:
        parse_object(doc)
    assert caught.value.path == faults[0].path
    assert caught.value.reason == "InvalidSpec"


IMMUTABLE: list[tuple[str, object]] = [
    ("spec.task.promptVersion", "v9"),
    ("spec.task.outputSchema", {"type": "object"}),
    ("spec.model.license", "mit"),
    ("spec.dataset.format", "messages"),
    ("spec.method.adapter", {"r": 8}),
    ("spec.training.seed", 7),
    ("spec.sweep", {"parameters": {"learningRate": ["1e-4"]}}),
    ("spec.evaluation.baseline", "none"),
    ("spec.output.merge", True),
    ("spec.resources.gpus", 1),
]


@pytest.mark.parametrize(("field", "value"), IMMUTABLE, ids=[field for field, _ in IMMUTABLE])
def test_30_an_immutable_field_of_a_job_stays(field: str, value: object) -> None:
    part = field.split(".")[1]
    assert [str(f) for f in validate_object(changed(a_job(), field, value), a_job())] == [
        f"spec.{part}: {part} is immutable"
    ]
    assert validate_object(changed(a_job(), field, value)) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("spec.suspend", True),
        ("spec.runtime.ttlSecondsAfterFinished", 60),
        ("spec.runtime.queueName", "q"),
        ("metadata.labels", {"a": "b"}),
    ],
)
def test_30_what_may_change_may(field: str, value: object) -> None:
    assert validate_object(changed(a_job(), field, value), a_job()) == []


def test_30_defaults_written_out_are_no_change() -> None:
    assert validate_object(changed(a_job(), "spec.training.epochs", 3), a_job()) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        (None, "Standard", "spec.deploymentMode: deploymentMode is immutable"),
        ("Standard", "Knative", "spec.deploymentMode: deploymentMode is immutable"),
        ("Standard", REMOVED, "spec.deploymentMode: deploymentMode is immutable"),
    ],
)
def test_30_the_mode_of_a_release_stays(before: str | None, after: object, fault: str) -> None:
    old = changed(a_release(), "spec.deploymentMode", before) if before else a_release()
    assert [str(f) for f in validate_object(changed(old, "spec.deploymentMode", after), old)] == [fault]


def test_30_attempts_only_rise() -> None:
    old = changed(a_release(), "spec.attempt", 2)
    assert [f.path for f in validate_object(changed(old, "spec.attempt", 1), old)] == ["spec.attempt"]
    assert validate_object(changed(old, "spec.attempt", 3), old) == []


def test_23_a_status_written_by_a_user_is_neither_read_nor_refused() -> None:
    assert validate_object(changed(a_job(), "status", {"phase": "Succeeded", "nonsense": 1})) == []


def test_22_labels_that_the_operator_set_may_stay() -> None:
    old = changed(a_job(), "metadata.labels", {"graft.dev/x": "1"})
    assert validate_object(old, old) == []
    assert len(validate_object(changed(old, "metadata.labels", {"graft.dev/x": "2"}), old)) == 1


def test_null_is_an_absent_field_as_the_api_server_has_it() -> None:
    doc = changed(changed(a_job(), "spec.training", {"seed": None, "earlyStopping": None}), "spec.sweep", None)
    assert validate_object(doc) == []
    assert validate_object(doc, a_job()) == []
    assert apply_defaults(doc) == apply_defaults(changed(a_job(), "spec.training", {}))
    parsed = parse_object(doc)
    assert isinstance(parsed, FineTuneJob)
    assert parsed.spec.training.seed == 42
    kept = changed(
        a_job(), "spec.task.outputSchema", {"type": "object", "properties": {"a": {"enum": [None, 1]}}, "default": None}
    )
    assert apply_defaults(kept)["spec"]["task"]["outputSchema"]["default"] is None


def test_all_faults_are_told_at_once_in_order() -> None:
    doc = changed(a_job(), "spec.method.adapter", {"r": 0, "alpha": "x"})
    doc = changed(doc, "spec.training", {"learningRate": "7", "epochz": 1})
    doc = changed(doc, "spec.dataset.train", [])
    assert {fault.path for fault in validate_object(doc)} == {
        "spec.dataset.train",
        "spec.method.adapter.r",
        "spec.method.adapter.alpha",
        "spec.training.epochz",
    }


def test_a_bomb_of_nesting_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"properties": deep}
    assert "nested more than 64 levels" in str(validate_object(changed(a_job(), "spec.task.outputSchema", deep))[0])


def test_lone_surrogates_do_not_break_the_check() -> None:
    assert validate_object(changed(a_job(), "spec.task.system", "\ud800")) != []


def test_refusing_takes_little_time() -> None:
    doc = changed(a_job(), "spec.dataset.train", ["nope"] * 64)
    validate_object(doc)
    start = time.process_time()
    for _ in range(20):
        validate_object(doc)
    assert (time.process_time() - start) / 20 < 0.05
