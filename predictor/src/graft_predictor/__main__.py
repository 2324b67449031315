"""`graft-predictor`: serve one arm of a release. Nothing heavy is imported before the arguments are checked."""

import argparse
import gc
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_EPILOG = """examples:
  graft-predictor --config arm.json --port 8081
  graft-predictor --config arm.json --port 8081 --cache-dir /var/cache/graft

The port opens at once; GET /readyz says 503 with a reason until the adapter is verified, loaded and warmed up.
SIGTERM: readiness goes, open requests end, then the process. Exit codes: 0 ended by a signal, 2 bad arguments or configuration.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and serve.

    Args:
        argv: Arguments without the program's name; None: the process's.

    Returns:
        The exit code.
    """
    args = _parser().parse_args(argv)
    _prepare_environment()

    from graft_core.errors import GraftError
    from graft_predictor.settings import Settings, read_config

    try:
        config = read_config(args.config)
    except GraftError as err:
        print(f"graft-predictor: {err}", file=sys.stderr)  # noqa: T201  # a command's error message
        return 2
    if config.engine.threads is not None:
        # Read when torch is loaded; numpy's BLAS, too, would else start a thread for each core.
        os.environ.setdefault("OMP_NUM_THREADS", str(config.engine.threads))
    if config.engine.server is not None:
        from graft_core.without_torch import hide_torch

        hide_torch()
    settings = Settings(
        host=args.host,
        port=args.port,
        cache_dir=args.cache_dir or Path(tempfile.gettempdir()) / f"graft-predictor-{os.getuid()}",
        base_dir=args.base_dir,
        grace_s=args.grace_seconds,
        drain_s=args.drain_seconds,
        max_body_bytes=args.max_body_bytes,
    )

    from graft_predictor.app.run import run

    run(config, settings, log_format=args.log_format)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graft-predictor",
        description="Serve a fine-tuned model with an OpenAI-compatible endpoint.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="PredictorConfig as JSON")
    parser.add_argument("--port", type=_port, required=True, metavar="N", help="port to listen on")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--cache-dir", type=Path, metavar="DIR", help="for copies of adapters and the exact cache")
    parser.add_argument("--base-dir", type=Path, metavar="DIR", help="where base models from the hub are kept")
    parser.add_argument(
        "--grace-seconds", type=float, default=30.0, metavar="S", help="wait for open requests (default: %(default)g)"
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="between losing readiness and closing the port (default: %(default)g)",
    )
    parser.add_argument(
        "--max-body-bytes",
        type=int,
        default=4 * 1024 * 1024,
        metavar="N",
        help="largest request (default: %(default)d)",
    )
    parser.add_argument("--log-format", choices=("json", "plain"), default="json", help="(default: %(default)s)")
    return parser


def _port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{value} is not in 1..65535")
    return value


def _prepare_environment() -> None:
    """Set what libraries read while they are imported."""
    # They make a million objects that stay: at the usual pace, looking through those is a tenth of a start.
    gc.set_threshold(50_000, 20, 100)
    # Counts of other processes in a shared folder would be judged as this arm's own.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    os.environ.pop("prometheus_multiproc_dir", None)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # PEFT and transformers look for TensorFlow and Flax otherwise.
    os.environ.setdefault("USE_TF", "0")
    os.environ.setdefault("USE_FLAX", "0")


if __name__ == "__main__":
    sys.exit(main())
