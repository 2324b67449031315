"""The `graft` command; `main` is the console script's entry."""

from graft_operator.cli.app import main

__all__ = ["main"]
