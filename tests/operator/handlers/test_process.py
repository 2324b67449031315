"""The operator as a process, by both of its commands: it comes up, works, and goes within five seconds with the Lease given back."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from graft_operator.ports import CONFIG_MAPS, FINE_TUNE_JOBS, LEASES
from tests.fakes.kube import FakeKube
from tests.fakes.kube_http import kubeconfig_of, serve_kube
from tests.operator.engine.world import a_job
from tests.operator.handlers.test_operator import until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "command",
    [
        ["graft_operator", "operator"],
        ["kopf", "run", "--standalone", "--all-namespaces", "-m", "graft_operator.handlers"],
    ],
    ids=["graft", "kopf"],
)
async def test_it_comes_up_works_and_goes_in_time(command: list[str], tmp_path: Path) -> None:
    kube = FakeKube()
    async with serve_kube(kube) as (_, url):
        (tmp_path / "config").write_text(json.dumps(kubeconfig_of(url, "canary-token")))
        environment = {
            "KUBECONFIG": str(tmp_path / "config"),
            "GRAFT_PROBE_PORT": "0",
            "GRAFT_OUTPUT_URI": "s3://adapters/b",
        }
        kube.add(FINE_TUNE_JOBS, a_job("one"))
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *command, env={**os.environ, **environment}, stdout=log, stderr=log
            )
        try:
            await until(lambda: kube.all(CONFIG_MAPS, "ml"), 60)
            found = kube.find(FINE_TUNE_JOBS, "ml", "one")
            assert found is not None
            assert found["metadata"]["finalizers"] == ["graft.dev/finalizer"]
            asked = time.monotonic()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await process.wait() == 0
            assert time.monotonic() - asked < 5
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    lease = kube.find(LEASES, "graft", "graft-operator")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""
    log_text = (tmp_path / "log").read_text()
    assert "canary-token" not in log_text
    assert "Traceback" not in log_text


async def test_settings_that_make_no_sense_end_it_with_their_names(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "graft_operator",
        "operator",
        env={**os.environ, "GRAFT_PROBE_PORT": "99999"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert b"probe_port" in told
    assert b"Traceback" not in told
