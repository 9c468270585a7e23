"""Averages over the processes of a distributed training."""

import torch.distributed as dist
from torch import Tensor

__all__ = ["mean_over_ranks"]


def mean_over_ranks(value: Tensor) -> Tensor:
    """Average of a tensor without gradient over ranks; the tensor itself where there is one process."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
        value = value / dist.get_world_size()
    return value
