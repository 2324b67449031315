"""Import KServe without what a predictor never uses.

KServe 0.21 imports pandas for two functions that build data frames from V2 requests; nothing here calls them. That is 2 of 4.5 CPU
seconds and 68 of 165 MB at every start (measured on two shared cores), so a placeholder stands in for pandas while KServe is imported.
KServe also reads the process's arguments and configures logging on import; both are kept from it.
"""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

__all__ = ["load_kserve"]


def load_kserve() -> None:
    """Import kserve; later imports of it, or parts of it, find it loaded."""
    # KServe adds handlers of its own where it finds none.
    logging.getLogger("kserve").addHandler(logging.NullHandler())
    with _placeholder("pandas", DataFrame=object), _no_arguments():
        import_module("kserve.model_server")


@contextmanager
def _placeholder(name: str, **attributes: object) -> Generator[None]:
    if name in sys.modules:
        yield
        return
    module = ModuleType(name, "Stands in while KServe is imported.")
    module.__dict__.update(attributes)
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]  # whoever wants the real one gets it


@contextmanager
def _no_arguments() -> Generator[None]:
    argv, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = argv
