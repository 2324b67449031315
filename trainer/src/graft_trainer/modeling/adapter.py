"""What of a base model an adapter may hang on: names of layers, read from the weights' headers without loading a weight."""

import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from graft_core.errors import Corrupt, InvalidInput

__all__ = ["ALL_LINEAR", "check_target_modules", "layer_shapes", "parameter_count"]

ALL_LINEAR: Final = "all-linear"
MAX_HEADER_BYTES: Final = 100_000_000
"""The safetensors format's own limit; a longer one is a corrupt or hostile file."""
_SHOWN: Final = 12
_OUTSIDE: Final = re.compile(r"embed|lm_head|wte\.|wpe\.")


def layer_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read name and shape of every tensor of a model folder from its safetensors headers.

    Args:
        folder: Model folder.

    Returns:
        Shapes by tensor name, sorted.

    Raises:
        InvalidInput: There are no safetensors: other formats run code when they are read.
        Corrupt: A header is broken.
    """  # noqa: DOC503 - Corrupt comes from reading a header
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise InvalidInput(
            "the model folder has no *.safetensors; other weight formats are refused, since they can run code when read",
            path="spec.model.id",
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        shapes.update(_read_header(file))
    return dict(sorted(shapes.items()))


def parameter_count(shapes: Mapping[str, Sequence[int]]) -> int:
    """Count the weights."""
    total = 0
    for shape in shapes.values():
        size = 1
        for extent in shape:
            size *= extent
        total += size
    return total


def check_target_modules(targets: Sequence[str], shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse names that match no layer with a weight matrix.

    Args:
        targets: method.adapter.targetModules.
        shapes: As layer_shapes returns them.

    Raises:
        InvalidInput: A name is unknown; the message lists what there is.
    """
    if ALL_LINEAR in targets:
        if len(targets) > 1:
            raise InvalidInput(
                "method.adapter.targetModules: 'all-linear' stands alone; leave the other names out",
                path="spec.method.adapter.targetModules",
            )
        return
    # Embeddings are tables to look up in, and the fused loss reads the LM head's own weight: an adapter on either would not be used.
    matrices = (name for name, shape in shapes.items() if len(shape) == 2 and not _OUTSIDE.search(name))
    modules = [name.removesuffix(".weight") for name in matrices]
    for i, target in enumerate(targets):
        # PEFT's own rule: the whole name, or its end after a dot.
        if not any(module == target or module.endswith(f".{target}") for module in modules):
            names = sorted({module.rsplit(".", 1)[-1] for module in modules})
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise InvalidInput(
                f"method.adapter.targetModules[{i}]: {target!r} is no layer of the model; it has {', '.join(names[:_SHOWN])}{more}",
                path=f"spec.method.adapter.targetModules[{i}]",
            )


def _read_header(file: Path) -> dict[str, tuple[int, ...]]:
    with file.open("rb") as stream:
        prefix = stream.read(8)
        size = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1  # the format's length field
        if not 0 < size <= min(MAX_HEADER_BYTES, file.stat().st_size):
            raise Corrupt(f"{file.name}: header of {size} bytes is not one of safetensors; fetch the model again")
        raw = stream.read(size)
    try:
        header: dict[str, dict[str, list[int]]] = json.loads(raw)
        return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise Corrupt(f"{file.name}: the safetensors header is not readable; fetch the model again") from err
