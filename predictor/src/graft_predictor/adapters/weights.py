"""The adapter's tensors: shapes that fit the declared rank, pairs that are whole, values that are numbers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from graft_core.contracts.adapter_manifest import AdapterManifest
from graft_core.errors import Corrupt
from graft_predictor.adapters.safetensors_header import TensorInfo, read_header

__all__ = ["check_weights"]

MAX_ABS: Final = 1e4
"""Trained LoRA weights stay well under 100; what is this large is damage, or made to overflow."""
_LORA: Final = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_HEAD: Final = re.compile(r"(.+\.)?(classifier|pre_classifier|score|pooler)(\.[a-z_]+)*\.(weight|bias)")
"""Whole layers that PEFT saves beside the pairs: a classifier's head."""


def check_weights(path: Path, manifest: AdapterManifest) -> None:
    """Check header, shapes and values; raises Corrupt with the tensor's name.

    Args:
        path: adapter_model.safetensors, with verified bytes.
        manifest: Declares rank and layers.
    """
    header = read_header(path)
    _check_shapes(header, manifest)
    _check_values(path, header)


def _check_shapes(header: Mapping[str, TensorInfo], manifest: AdapterManifest) -> None:
    rank = manifest.compatibility.rank
    targets = set(manifest.compatibility.target_modules)
    sides: dict[str, set[str]] = {}
    for name, info in header.items():
        match = _LORA.fullmatch(name)
        if match is None:
            if not _HEAD.fullmatch(name):
                raise Corrupt(f"tensor {name!r} is neither half of a LoRA pair nor a classifier's head")
            continue
        extent = info.shape[0 if match["side"] == "A" else 1] if len(info.shape) == 2 else -1
        if extent != rank:
            raise Corrupt(f"tensor {name!r} has shape {info.shape!r}, which is not of the declared rank {rank}")
        module = match["module"]
        if module.rsplit(".", 1)[-1] not in targets and not any(module.endswith(f".{t}") for t in targets):
            raise Corrupt(f"tensor {name!r} sits on a layer that manifest.compatibility.targetModules does not name")
        sides.setdefault(module, set()).add(match["side"])
    for module, found in sides.items():
        if found != {"A", "B"}:
            missing = ({"A", "B"} - found).pop()
            raise Corrupt(f"layer {module!r} has no lora_{missing}: half of a LoRA pair is missing")
    if not sides:
        raise Corrupt("the adapter has no LoRA pair")


def _check_values(path: Path, header: Mapping[str, TensorInfo]) -> None:
    # numpy and not torch: a bad adapter is refused before seconds go into importing a framework.
    import numpy as np

    data = np.memmap(path, dtype=np.uint8, mode="r")
    start = data.size - max(info.end for info in header.values())
    has_effect = False
    for name, info in header.items():
        if info.begin == info.end:
            raise Corrupt(f"tensor {name!r} is empty")
        peak = _peak(data[start + info.begin : start + info.end], info.dtype)
        if not peak <= MAX_ABS:  # false for NaN, too
            raise Corrupt(f"tensor {name!r} holds NaN, Inf or a value over {MAX_ABS:g}; the training went wrong")
        has_effect = has_effect or (".lora_B." in name and peak > 0)
    if not has_effect:
        raise Corrupt("every lora_B is zero: the adapter changes nothing, so it was never trained")


def _peak(raw: Any, dtype: str) -> float:  # noqa: ANN401  # numpy is imported when it is needed
    """Return the largest magnitude; NaN where there is one."""
    import numpy as np

    if dtype == "BF16":  # the upper half of a float32
        values: Any = (raw.view("<u2").astype("<u4") << 16).view("<f4")
    else:
        values = raw.view({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype])
    return float(np.max(np.abs(values)))
