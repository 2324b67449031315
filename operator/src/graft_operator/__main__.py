"""`python -m graft_operator` is `graft`; `python -m graft_operator operator` is the operator of a cluster (extra `cluster`)."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or the operator."""
    if sys.argv[1:] == ["operator"]:
        from graft_operator.handlers.run import main as run_operator

        sys.exit(run_operator())
    from graft_operator.cli import main as run_cli

    run_cli()


if __name__ == "__main__":
    main()
