"""Look at an adapter folder before it may be called an artifact: the right files, and weights that fit what the config says.

Reads safetensors headers and values with numpy only where numbers must be looked at; nothing in the folder is executed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open

from graft_core.errors import Corrupt

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "verify_adapter"]

WEIGHTS_FILE: Final = "adapter_model.safetensors"
CONFIG_FILE: Final = "adapter_config.json"
MAX_WEIGHT: Final = 1e6
"""No trained LoRA weight is near this; 1e30 is finite and still poison."""
_FORBIDDEN_SUFFIXES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py", ".npy"})


def verify_adapter(folder: Path) -> None:
    """Refuse an adapter that is not what it says.

    Args:
        folder: Holds adapter_model.safetensors and adapter_config.json.

    Raises:
        Corrupt: A pickle or code file, an unreadable header, a missing half of a LoRA pair, a rank other than the config's, weights that
            are NaN, infinite or absurd, or all zero.
    """
    for path in folder.rglob("*"):
        if path.suffix in _FORBIDDEN_SUFFIXES:
            raise Corrupt(f"{path.name}: adapters hold safetensors and text only; this file could run code when read")
    config = _read_config(folder / CONFIG_FILE)
    _check_weights(folder / WEIGHTS_FILE, config)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise Corrupt(f"{path.name} is missing or not JSON") from err
    if not isinstance(config, dict) or not isinstance(config.get("r"), int):
        raise Corrupt(f"{path.name} has no rank 'r'")
    if config.get("auto_mapping"):
        raise Corrupt(f"{path.name} has 'auto_mapping', which names code to be run; remove it")
    return config


def _check_weights(path: Path, config: Mapping[str, Any]) -> None:
    rank, seen, moved = config["r"], set[str](), False
    try:
        with safe_open(str(path), framework="np") as file:
            for name in file.keys():  # noqa: SIM118  # not a mapping
                weight = file.get_tensor(name)
                seen.add(name)
                _check_rank(name, weight.shape, rank)
                _check_values(name, weight)
                # B starts at zero: where every B still is, nothing was learned.
                moved = moved or (".lora_B." in name and bool(np.any(weight)))
    except (SafetensorError, OSError, ValueError, TypeError) as err:
        raise Corrupt(f"{path.name} is missing or not readable as safetensors ({type(err).__name__})") from err
    _check_pairs(seen)
    if not moved:
        raise Corrupt(f"{path.name}: all LoRA weights are zero; the adapter does nothing")


def _check_rank(name: str, shape: tuple[int, ...], rank: int) -> None:
    found = shape[0] if ".lora_A." in name else shape[1] if ".lora_B." in name else rank
    if found != rank:
        raise Corrupt(f"{name} has rank {found}, adapter_config.json says {rank}")


def _check_values(name: str, weight: Any) -> None:  # noqa: ANN401  # numpy array of any dtype
    if not np.isfinite(weight).all():
        raise Corrupt(f"{name} holds NaN or infinite weights")
    if weight.size and float(np.abs(weight).max()) > MAX_WEIGHT:
        raise Corrupt(f"{name} holds a weight over {MAX_WEIGHT:g}; no training ends there")


def _check_pairs(names: set[str]) -> None:
    ups = {name for name in names if ".lora_A." in name}
    if not ups:
        raise Corrupt(f"{WEIGHTS_FILE} holds no LoRA weights")
    for name in sorted(ups):
        other = name.replace(".lora_A.", ".lora_B.")
        if other not in names:
            raise Corrupt(f"{other} is missing, {name} has no other half")
    lone = sorted(name for name in names if ".lora_B." in name and name.replace(".lora_B.", ".lora_A.") not in names)
    if lone:
        raise Corrupt(f"{lone[0]} has no other half")
