"""What a spec is refused for, kept for as long as its generation lasts."""

from typing import Any

from graft_core.api.v1alpha1.modelrelease import ModelRelease
from graft_operator.reconcile.acceptance import KeptRefusals, find_spec_refusals
from graft_operator.reconcile.support import LOCAL_SHELL
from tests.builders import a_release

REFUSED: dict[str, Any] = {"rollout": {"shadow": {}}}


def a_generation(generation: int, spec: dict[str, Any] | None = None) -> ModelRelease:
    return a_release(spec, generation=generation)


def test_it_is_found_once_for_each_generation() -> None:
    kept = KeptRefusals(LOCAL_SHELL)
    first = kept.of(a_generation(1, REFUSED))
    assert [refusal.path for refusal in first] == ["spec.rollout.shadow"]
    assert kept.of(a_generation(1, REFUSED)) is first
    assert kept.of(a_generation(2)) == ()
    assert kept.of(a_generation(3, REFUSED)) == first


def test_what_is_gone_is_forgotten() -> None:
    kept = KeptRefusals(LOCAL_SHELL)
    release = a_generation(1, REFUSED)
    first = kept.of(release)
    kept.forget(release.metadata.uid)
    assert kept.of(release) is not first


def test_unsupported_fields_come_before_faults() -> None:
    spec: dict[str, Any] = {"rollout": {"shadow": {}, "steps": [{"weight": 50}, {"weight": 10}]}}
    found = find_spec_refusals(a_release(spec).spec, LOCAL_SHELL)
    assert [refusal.reason for refusal in found] == ["NotSupported", "InvalidSpec"]
