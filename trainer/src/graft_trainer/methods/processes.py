"""What several training processes do together; each of these is nothing in a single one.

torch.distributed is up once TrainingArguments were made under torchrun.
"""

from typing import Final

import torch
from torch import distributed

__all__ = ["agree", "is_first", "rank", "summed", "wait_for_all", "world"]

_CPU: Final = torch.device("cpu")


def world() -> int:
    """Return how many processes train."""
    return distributed.get_world_size() if _is_up() else 1


def rank() -> int:
    """Return which of them this is."""
    return distributed.get_rank() if _is_up() else 0


def is_first() -> bool:
    """Whether this process writes checkpoints and tells how it goes."""
    return rank() == 0


def wait_for_all() -> None:
    """Go on when every process is here."""
    if _is_up():
        distributed.barrier()


def summed(*values: torch.Tensor) -> list[torch.Tensor]:
    """Add scalars up over all processes, in one exchange; their types stay."""
    if not _is_up():
        return list(values)
    together = torch.stack([value.detach().double() for value in values])
    distributed.all_reduce(together)
    return [total.to(value.dtype) for total, value in zip(together, values, strict=True)]


def agree(flag: bool) -> bool:  # noqa: FBT001  # a question has one answer
    """Say whether any process says so."""
    if not _is_up():
        return flag
    device = torch.device("cuda", torch.cuda.current_device()) if distributed.get_backend() == "nccl" else _CPU
    votes = torch.tensor([float(flag)], device=device)
    distributed.all_reduce(votes, op=distributed.ReduceOp.MAX)
    return bool(votes.item())


def _is_up() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
