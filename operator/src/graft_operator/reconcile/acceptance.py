"""What the spec of a ModelRelease is refused for: it follows from one generation of the spec, so that a shell finds it once for each."""

from typing import Final

from graft_core.api.v1alpha1.modelrelease import ModelRelease, ModelReleaseSpec
from graft_operator.reconcile.support import Capabilities, Refusal, find_refusals
from graft_operator.reconcile.validity import find_release_faults

__all__ = ["KeptRefusals", "find_spec_refusals"]


def find_spec_refusals(spec: ModelReleaseSpec, capabilities: Capabilities) -> tuple[Refusal, ...]:
    """List what is not supported and what makes no sense; empty where the whole spec can be carried out."""
    return (*find_refusals(spec, capabilities.modelrelease), *find_release_faults(spec))


class KeptRefusals:
    """What `find_spec_refusals` said of each release, for as long as its generation lasts; a shell has one."""

    def __init__(self, capabilities: Capabilities) -> None:
        self._capabilities: Final = capabilities
        self._found: dict[str, tuple[int, tuple[Refusal, ...]]] = {}
        """By uid."""

    def of(self, release: ModelRelease) -> tuple[Refusal, ...]:
        """Return what the release's spec is refused for."""
        uid, generation = release.metadata.uid, release.metadata.generation
        known = self._found.get(uid)
        if known is None or known[0] != generation:
            known = self._found[uid] = (generation, find_spec_refusals(release.spec, self._capabilities))
        return known[1]

    def forget(self, uid: str) -> None:
        """Forget a release that is gone."""
        self._found.pop(uid, None)
