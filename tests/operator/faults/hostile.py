"""More than two hundred objects that nobody should get through: those of the lists of bad objects, and what only an operator can refuse.

Rows bear the numbers of docs/develop/faults.md. Left out of the lists of bad objects: what JSON or a URL cannot say (NaN, a date, keys that
are no texts, another kind or namespace).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from graft_operator.reconcile.cluster_support import CLUSTER_FINETUNEJOB
from graft_operator.reconcile.kube.limits import RESERVED_ARGS
from tests.core.api.objects import REMOVED, a_job, a_release, changed
from tests.core.api.test_bad_objects import IMMUTABLE, JOBS, RELEASES
from tests.operator.reconcile import test_cluster_release_support as releases
from tests.operator.reconcile import test_cluster_support as jobs
from tests.operator.reconcile.fields import document, merged
from tests.operator.reconcile.test_support import JOB_REFUSED, JOB_VALUES, NEEDED

__all__ = ["HOSTILE", "Hostile"]

Json = dict[str, Any]

UNSAYABLE: Final = frozenset({"5", "1b", "1c", "14d", "date", "key", "key2", "kind", "version", "meta", "ns"})
"""Rows of the list of bad jobs that never reach a schema; those without a spec or a name are told below by what the server says."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One object, or one change of an object."""

    name: str
    """For the reader, and unique."""
    body: Json
    field: str
    """What a refusal must name."""
    change: Json | None = None
    """Applied to the object once it is there: then it is the change that must be refused."""


def _listed() -> Iterator[Hostile]:
    """Give the lists of bad objects."""
    for kind, rows, build in (("job", JOBS, a_job), ("release", RELEASES, a_release)):
        for number, field, value, path, _ in rows:
            if number not in UNSAYABLE:
                named = (path or field).rpartition(".")[2]
                if number == "22c":  # a policy says which field, and not which item
                    named = "metadata.ownerReferences"
                yield Hostile(f"{kind} {number}", changed(build(), field, value), named)
    for path, value in IMMUTABLE:
        part = path.split(".")[1]
        yield Hostile(f"job 30 {path}", a_job(), part, {"spec": changed(a_job(), path, value)["spec"]})
    yield Hostile("release 30 mode", a_release(), "deploymentMode", {"spec": {"deploymentMode": "Standard"}})
    yield Hostile("release 30 attempt", changed(a_release(), "spec.attempt", 2), "attempt", {"spec": {"attempt": 1}})


def _unsupported() -> Iterator[Hostile]:
    """Give every field, and every value of a field, that a cluster does not build."""
    for path in (*CLUSTER_FINETUNEJOB.refused, *(rule.path for rule in CLUSTER_FINETUNEJOB.values)):
        value = {**JOB_VALUES, **JOB_REFUSED, **jobs.REFUSED_HERE}[path]
        body = merged(a_job(), {"spec": merged(NEEDED.get(path, {}), document(path, value))})
        if path == "spec.model.id":
            body = changed(body, "spec.model.revision", REMOVED)
        if path == "spec.method.objective":
            body = changed(body, "spec.dataset.format", "preference")
        yield Hostile(f"job refused {path}", body, _leaf(path))
    for path, value in {**releases.REFUSED, **releases.VALUES}.items():
        spec = merged(releases.NEEDED.get(path, {}), document(path, value))
        body = merged(a_release(), {"spec": spec})
        if path == "spec.model.adapter?.uri":
            body = changed(body, "spec.model.fineTuneJobRef", REMOVED)
        yield Hostile(f"release refused {path}", body, _leaf(path))


def _by_the_operator() -> Iterator[Hostile]:
    """Give what no schema sees: templates, metrics, arguments, names, and models that are not there."""
    for name, field, value in (
        ("template", "spec.task.template", "{{ unclosed"),
        ("template attribute", "spec.task.template", "{{ ''.__class__.__mro__ }}"),
        ("template loop", "spec.task.template", "{% for x in range(10**9) %}x{% endfor %}"),
        ("schema", "spec.task.outputSchema", {"type": "no-such-type"}),
        ("schema ref", "spec.task.outputSchema", {"$ref": "http://169.254.169.254/latest/meta-data"}),
        ("schema file", "spec.task.outputSchema", {"$ref": "file:///etc/passwd"}),
    ):
        yield Hostile(f"job {name}", changed(a_job(), field, value), _leaf(field))
    gates: tuple[tuple[str, Json], ...] = (
        ("metric", {"metric": "vibes", "min": "0.5"}),
        ("metric of another task", {"metric": "macro_f1", "min": "0.5"}),
        ("perClass", {"metric": "exact_match", "min": "0.5", "perClass": True}),
    )
    for field, gate in gates:
        yield Hostile(f"job gate {field}", changed(a_job(), "spec.evaluation", {"gates": [gate]}), "gates[0]")
    no_base = {"baseline": "none", "gates": [{"metric": "exact_match", "minDelta": "0.1", "versus": "base"}]}
    yield Hostile("job gate versus", changed(a_job(), "spec.evaluation", no_base), "versus")
    yield Hostile("job licence", changed(a_job(), "spec.model.license", "cc-by-nc-4.0"), "license")
    yield Hostile("job model", changed(a_job(), "spec.model.id", "attacker/model"), "spec.model.id")
    yield Hostile("job selector", changed(a_job(), "spec.runtime", {"nodeSelector": {"evil": "x"}}), "nodeSelector")
    toleration = [{"key": "evil", "operator": "Exists"}]
    yield Hostile("job toleration", changed(a_job(), "spec.runtime", {"tolerations": toleration}), "tolerations")
    yield Hostile("16 job tag", changed(a_job(), "spec.runtime", {"image": "registry.example.com/t:1"}), "image")
    yield Hostile(
        "16 job registry", changed(a_job(), "spec.runtime", {"image": f"evil.io/t@sha256:{'1' * 64}"}), "image"
    )
    yield from _releases_by_the_operator()


def _releases_by_the_operator() -> Iterator[Hostile]:
    engine = {"type": "vllm", "image": f"registry.example.com/vllm@sha256:{'1' * 64}", "resources": {"gpus": 1}}
    for number, argument in enumerate(RESERVED_ARGS):
        body = changed(a_release(), "spec.engine", {**engine, "args": ["--dtype=auto", f"{argument}=x"]})
        yield Hostile(f"release argument {number} {argument}", body, "args[1]")
    yield Hostile("release no image", changed(a_release(), "spec.engine", {"type": "tgi"}), "image")
    for name, part in (
        ("image", {"image": engine["image"]}),
        ("quantize", {"quantize": "fp8"}),
        ("memory", {"resources": {"memory": "1Gi"}}),
        ("gpus", {"resources": {"gpus": 8}}),
    ):
        yield Hostile(f"release in process {name}", changed(a_release(), "spec.engine", part), name)
    source = {"source": {"prometheus": {"url": "http://169.254.169.254/"}}}
    yield Hostile("25 release prometheus", changed(a_release(), "spec.rollout", {"analysis": source}), "prometheus.url")
    knative = changed(changed(a_release(), "spec.deploymentMode", "Knative"), "spec.engine", engine)
    yield Hostile("release knative engine", knative, "spec.engine.type")
    yield Hostile("14 release name", changed(a_release(), "metadata.name", "a" * 45), "metadata.name")
    yield Hostile("26 release of nothing", changed(a_release(), "spec.model.fineTuneJobRef.name", "nothing"), "nothing")
    adapter = {"uri": "s3://other-tenant/adapters/", "digest": f"sha256:{'f' * 64}"}
    yield Hostile("26 release of another's", changed(a_release(), "spec.model", {"adapter": adapter}), f"{'f' * 64}")


def _leaf(path: str) -> str:
    return path.replace("?", "").replace("[]", "[0]").rpartition(".")[2]


def _named() -> Iterator[Hostile]:
    """Give each object a name of its own, but where the name is the matter."""
    for number, one in enumerate((*_listed(), *_unsupported(), *_by_the_operator())):
        name = one.body["metadata"].get("name")
        is_plain = name in {a_job()["metadata"]["name"], a_release()["metadata"]["name"]}
        body = changed(one.body, "metadata.name", f"h-{number}") if is_plain else one.body
        yield Hostile(one.name, body, one.field, one.change)


HOSTILE: Final = tuple(_named())
"""All of them, always in this order."""
