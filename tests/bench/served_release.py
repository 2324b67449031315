"""A `graft up` that serves one release from a ready adapter, for benches: real Envoy, real predictor, no training before."""

import contextlib
import time
from pathlib import Path
from typing import Any, Self

import psutil

from graft_core.errors import GraftError
from tests.bench.processor import cpu_s
from tests.e2e.local_up import until
from tests.e2e.real_up import RealUp
from tests.predictor.models import Artifact, make_minilm

__all__ = ["ServedRelease"]

READY_S = 300.0


class ServedRelease:
    """The release `shop`: an untrained adapter on MiniLM, one thread, the memory tier on."""

    def __init__(self, folder: Path) -> None:
        self._up = RealUp(folder)
        self._artifact = make_minilm(folder / "adapter")
        self.ready_s = 0.0
        """From the arm's process to ready, as `graft up` saw it (it looks every 0.25 s)."""
        self.ready_cpu_s = 0.0
        """Processor time of the arm until then."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as ending:
            ending.callback(self._up.end)
            self._up.start()
            self._up.apply(a_release(self._artifact))
            until(self._is_ready, READY_S, self._told)
            self.ready_s = time.time() - self.arm.create_time()
            self.ready_cpu_s = cpu_s(self.arm)
            until(lambda: self._up.phase("modelreleases", "shop") == "Released", 60, self._told)
            ending.pop_all()  # only what fails on the way ends it here
        return self

    def __exit__(self, *error: object) -> None:
        self._up.end()

    @property
    def url(self) -> str:
        """OpenAI base URL through the gateway."""
        return f"{self._up.status()['gateway']['url']}/default/shop/v1"

    @property
    def arm_url(self) -> str:
        """OpenAI base URL of the predictor itself."""
        return f"http://127.0.0.1:{self._arm()['port']}/v1"

    @property
    def arm(self) -> psutil.Process:
        """The predictor's process."""
        found = self._up.child(f"arm-{self._arm()['revision']}")
        assert found is not None
        return found

    @property
    def gateway(self) -> psutil.Process:
        """Envoy's process."""
        found = self._up.child("gateway")
        assert found is not None
        return found

    def _is_ready(self) -> bool:
        try:
            return bool(self._arm()["ready"])
        except IndexError:
            return False

    def _arm(self) -> dict[str, Any]:
        found: dict[str, Any] = self._up.status()["arms"][0]
        return found

    def _told(self) -> object:
        try:
            return self._up.get("modelreleases", "shop")["status"]
        except GraftError:
            return self._up.log.read_text()[-3000:]


def a_release(artifact: Artifact) -> dict[str, Any]:
    """Write the release down."""
    return {
        "apiVersion": "graft.dev/v1alpha1",
        "kind": "ModelRelease",
        "metadata": {"name": "shop"},
        "spec": {
            "model": {"adapter": {"uri": artifact.uri, "digest": artifact.manifest.digest}},
            "predictor": {"resources": {"cpu": "1"}},
            "cache": {"memory": {"maxEntries": 1000}},
        },
    }
