"""Load verified model folders: safetensors only, never remote code, on one device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, set_seed

__all__ = ["load_causal", "load_classifier"]


def load_causal(folder: Path, *, on_gpu: bool) -> Any:  # noqa: ANN401  # untyped library
    """Load a causal model: bf16 on the GPU, fp32 on the CPU."""
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), **_options(on_gpu=on_gpu))
    return model.to("cuda") if on_gpu else model


def load_classifier(folder: Path, labels: Sequence[str], *, seed: int, on_gpu: bool) -> Any:  # noqa: ANN401  # untyped library
    """Load an encoder with a classification head; a head that the folder lacks is drawn from the seed."""
    set_seed(seed)
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        str(folder),
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        # The folder's own head may be for other labels.
        ignore_mismatched_sizes=True,
        **_options(on_gpu=on_gpu),
    )
    return model.to("cuda") if on_gpu else model


def _options(*, on_gpu: bool) -> dict[str, Any]:
    return {
        "dtype": torch.bfloat16 if on_gpu else torch.float32,
        "use_safetensors": True,
        "trust_remote_code": False,
        "local_files_only": True,
    }
