"""`python -m graft_operator` is `graft`."""

from graft_operator.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
