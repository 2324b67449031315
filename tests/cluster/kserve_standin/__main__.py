"""Run the stand-in as a process: `python -m tests.cluster.kserve_standin --kubeconfig FILE --behaviour 0.21`."""

import argparse
import logging
import signal
import sys
import tempfile
from pathlib import Path
from threading import Event

from tests.cluster.api import Access, Api
from tests.cluster.kserve_standin.controller import StandIn
from tests.cluster.kserve_standin.objects import Behaviour, Settings
from tests.cluster.kserve_standin.podwebhook import serving_pods

__all__ = ["main"]


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="kserve_standin", description="Play KServe's controller, for tests.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--behaviour", type=Behaviour, choices=list(Behaviour), default=Behaviour.WEIGHTS)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # each request
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory() as folder:
        access = Access.from_kubeconfig(arguments.kubeconfig, Path(folder))
        # The webhook asks from threads of its own.
        with Api(access) as api, Api(access) as asked, serving_pods(asked):
            StandIn(api, Settings(arguments.behaviour)).run(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
