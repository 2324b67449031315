"""`python -m graft_predictor.app.fetch`: copy an adapter into a folder and verify it, as a pod does before anything serves it.

exit code   means
0           the folder holds the adapter, every file as the digest says; manifest.json was written last
1           the store does not answer; worth another try
2           there is no such adapter, it may not be read, or it is not what the digest says
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from graft_core.api.v1alpha1.modelrelease import AdapterRef
from graft_core.contracts.pod import MAX_TERMINATION_BYTES, TERMINATION_FILE
from graft_core.errors import GraftError, Unavailable
from graft_core.storage.objects import open_store
from graft_predictor.adapters.fetch import copy_adapter

__all__ = ["main"]


def main(argv: Sequence[str] | None = None, *, termination_file: Path = Path(TERMINATION_FILE)) -> int:
    """Copy and verify.

    Args:
        argv: Arguments without the program's name; None: the process's.
        termination_file: Where the last words go, if it is there.

    Returns:
        The exit code.
    """
    args = _parser().parse_args(argv)
    try:
        store, prefix = open_store(args.uri, path="--uri")
        copy_adapter(store, prefix, AdapterRef(uri=args.uri, digest=args.digest), args.to)
    except (GraftError, OSError) as err:
        reason = err.reason if isinstance(err, GraftError) else type(err).__name__
        words = f"{reason}: {err}"
        sys.stderr.write(f"graft-predictor: {words}\n")
        if termination_file.exists():
            termination_file.write_bytes(words.encode()[:MAX_TERMINATION_BYTES])
        return 1 if isinstance(err, Unavailable | OSError) else 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m graft_predictor.app.fetch", description="Copy an adapter and verify it.", allow_abbrev=False
    )
    parser.add_argument("--uri", required=True, help="folder of the adapter: s3://… or file:///…")
    parser.add_argument("--digest", required=True, help="sha256:… that its manifest must have")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="what is in it is removed first")
    return parser


if __name__ == "__main__":
    sys.exit(main())
