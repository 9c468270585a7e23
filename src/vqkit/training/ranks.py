"""The same weights on every process of a distributed training."""

import torch.distributed as dist
from torch import nn

__all__ = ["follow_first_rank"]


def follow_first_rank(model: nn.Module) -> None:
    """Give every rank rank 0's parameters and buffers; does nothing where there is one process."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        for value in model.state_dict().values():
            dist.broadcast(value, src=0)
