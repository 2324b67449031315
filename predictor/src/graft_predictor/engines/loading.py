"""Base model plus LoRA adapter as one torch module, for both in-process engines."""

import os
from dataclasses import dataclass
from typing import Any

from graft_core.errors import Corrupt, InvalidInput
from graft_predictor.engines.args import EngineArgs
from graft_predictor.engines.base import LoadPlan

__all__ = ["LoadedModel", "load_model"]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run, on its device."""

    model: Any
    device: str
    context_length: int


def load_model(plan: LoadPlan, args: EngineArgs) -> LoadedModel:
    """Load the base, put the adapter on it and fold it in.

    Folding (W + s·BA) makes an adapter as fast as a full model. It is exact up to rounding in float32; in bfloat16 the rounding would
    eat small updates, so there the adapter stays beside the base. Raises InvalidInput where GPUs are asked for and there is none, Corrupt
    where the adapter's tensors are not exactly those that its configuration asks for.

    Args:
        plan: Verified folders.
        args: dtype counts here.

    Returns:
        The model in evaluation mode.

    Raises:
        InvalidInput: The plan has no folder of the base.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    if plan.base_dir is None:
        raise InvalidInput(f"engine.type: {plan.engine.type!r} needs the base model's folder", path="engine.type")
    device = _choose_device(plan.engine.gpus)
    if plan.engine.threads is not None:
        torch.set_num_threads(plan.engine.threads)
    kwargs: dict[str, Any] = {
        "dtype": getattr(torch, args.dtype),
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
    }
    with _quiet_transformers():
        if plan.model_class == "causal-lm":
            base: Any = AutoModelForCausalLM.from_pretrained(str(plan.base_dir), **kwargs)
        else:
            base = AutoModelForSequenceClassification.from_pretrained(
                str(plan.base_dir),
                num_labels=len(plan.labels),
                ignore_mismatched_sizes=True,  # a head of the base's own is replaced by the adapter's
                **kwargs,
            )
        model = _attach(base, plan)
    if args.dtype == "float32":
        model = model.merge_and_unload()
    model = model.to(device).eval()
    model.requires_grad_(requires_grad=False)
    limits = [n for n in (getattr(base.config, "max_position_embeddings", None),) if isinstance(n, int) and n > 0]
    return LoadedModel(model, device, min(limits, default=plan.max_length))


def _choose_device(gpus: int) -> str:
    import torch

    if gpus == 0:
        return "cpu"
    if not torch.cuda.is_available():
        raise InvalidInput(f"engine.gpus: {gpus!r}, but this machine has no GPU; set it to 0", path="engine.gpus")
    return "cuda"


def _attach(base: Any, plan: LoadPlan) -> Any:  # noqa: ANN401  # transformers and peft are untyped
    """Put the adapter on the base, and prove that every tensor went where it belongs: PEFT itself only warns."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    try:
        model: Any = PeftModel.from_pretrained(base, str(plan.adapter_dir), local_files_only=True)
    except (RuntimeError, ValueError, KeyError) as err:
        raise Corrupt(f"the adapter does not fit the base model: {str(err)[:300]}") from err
    with safe_open(str(plan.adapter_dir / "adapter_model.safetensors"), framework="pt") as tensors:
        stored = set(tensors.keys())
    wanted = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if stored != wanted:
        missing, extra = sorted(wanted - stored)[:3], sorted(stored - wanted)[:3]
        raise Corrupt(
            f"the adapter's tensors do not fit the base model: missing {missing!r}, without a place {extra!r}"
        )
    return model


class _quiet_transformers:  # noqa: N801  # reads as a verb in `with`
    """Keep progress bars and the note about a new classifier head (the adapter brings it) out of the log."""

    def __enter__(self) -> None:
        from transformers.utils import logging as hf_logging

        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        self._level = hf_logging.get_verbosity()
        hf_logging.set_verbosity_error()
        hf_logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging as hf_logging

        hf_logging.set_verbosity(self._level)
