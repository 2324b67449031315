"""Keep torch out of a process that needs a tokenizer and no model: a predictor whose model runs in a server beside it, a trainer's check.

Where torch is installed, transformers imports it even for a tokenizer: seconds, and hundreds of megabytes. A module that is None in
sys.modules counts as not installed, for the import system and for transformers alike.
"""

import os
import sys
from types import ModuleType
from typing import cast

__all__ = ["hide_torch"]


def hide_torch() -> None:
    """Make every later `import torch` of this process fail; call it before anything has imported it."""
    sys.modules.setdefault("torch", cast("ModuleType", None))  # the import system reads it as "not there"
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that there is no torch is on purpose
