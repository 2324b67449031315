"""`python -m graft_trainer`: the same as `graft-trainer`."""

import sys

from graft_trainer.cli import main

if __name__ == "__main__":
    sys.exit(main())
