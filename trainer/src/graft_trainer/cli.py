"""`graft-trainer`: one command a stage, and `run`, which a train child starts.

No ML library is loaded before a command needs it: `--help` and a refused request answer at once. Every command reads one
TrainRequest, works in one run folder, and leaves `report.json` there, whatever the end; its exit code is that of
graft_core.contracts.exit_codes. Standard error carries JSON logs, never prompts.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from graft_core.contracts.exit_codes import EXIT_CODES
from graft_core.without_torch import hide_torch

__all__ = ["main"]

_COMMANDS = {
    "validate": "check data, model, tokenizer, gates and memory; trains nothing",
    "train": "train the adapter, going on from the newest complete checkpoint",
    "evaluate": "score the trained adapter and the untuned base on the test split, and judge the gates",
    "publish": "write the artifact, its manifest last",
    "run": "train, evaluate and publish in a row: what a train child starts",
}

_EPILOG = """\
examples:
  graft-trainer validate --request request.json --run-dir runs/check
  graft-trainer run      --request request.json --run-dir runs/train

a killed `run` is started again with the same arguments; it goes on from the newest complete checkpoint, and what was
published is not published twice. exit codes:
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program's name; sys.argv's by default.

    Returns:
        The exit code.
    """
    args = _make_parser().parse_args(argv)
    if args.command == "validate":
        hide_torch()
    # Only now: pydantic models, and behind them the ML libraries, cost seconds that --help need not take.
    from graft_trainer.run.child import run_child
    from graft_trainer.run.pod import Pod

    return run_child(
        args.command,
        request_file=args.request,
        run_dir=args.run_dir,
        pod=Pod() if args.pod else None,
        processes=args.processes,
        nodes=args.nodes,
    )


def _make_parser() -> argparse.ArgumentParser:
    codes = "".join(f"  {code:>3}  {kind.value}\n" for kind, code in sorted(EXIT_CODES.items(), key=lambda kv: kv[1]))
    parser = argparse.ArgumentParser(
        prog="graft-trainer",
        description="Check a data set, fine-tune an adapter, evaluate it, publish it.",
        epilog=_EPILOG + codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in _COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example:\n  graft-trainer {name} --request request.json --run-dir runs/{name}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--request", type=Path, required=True, metavar="FILE", help="TrainRequest as JSON")
        sub.add_argument(
            "--pod",
            action="store_true",
            help="in a pod: tell progress over HTTP, leave last words for the kubelet, keep checkpoints in object storage",
        )
        sub.add_argument(
            "--processes",
            type=int,
            default=1,
            metavar="N",
            help="training processes on this machine, one a GPU (default 1)",
        )
        sub.add_argument(
            "--nodes", type=int, default=1, metavar="N", help="machines that train together, found by PET_* (default 1)"
        )
        sub.add_argument(
            "--run-dir", type=Path, required=True, metavar="DIR", help="folder for progress.jsonl, report.json and work"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
