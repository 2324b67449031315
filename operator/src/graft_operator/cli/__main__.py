"""`python -m graft_operator.cli`, which is how `graft up --detach` starts itself whatever is on the PATH."""

from graft_operator.cli.app import main

if __name__ == "__main__":
    main()
