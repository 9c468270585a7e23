"""Communication between the processes (ranks) of one distributed training.

Each function asks at every call whether there are several ranks: what was built before the process group started takes part all the
same, and where there is one process nothing is exchanged and a tensor comes back as it is. Every rank has to make the same calls in
the same order, with tensors of the same shapes.

Ranks that hold parts of one model (tensor or pipeline parallel) do not train on different data: `exchange_within` names those that do.
"""

import atexit
import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = [
    "exchange_within",
    "follow_first_rank",
    "from_first_rank",
    "gather_ranks",
    "join_ranks",
    "max_over_ranks",
    "mean_over_ranks",
    "num_ranks",
    "own_rank",
    "sum_over_ranks",
    "sum_together",
]


_group: Any = None  # of `exchange_within`; None is all processes


@contextlib.contextmanager
def exchange_within(group: Any) -> Iterator[None]:
    """Inside, only the ranks of one process group count as training together: codebooks learn from their joined batch.

    Args:
        group: group of ``torch.distributed.new_group``, or of one dimension of a device mesh, ``mesh.get_group("data")``; None takes all
            processes. This process is one of it.

    Raises:
        ValueError: this process is not one of the group.

    Example:
        >>> import vqkit
        >>> quantizer = vqkit.VQ(4, 8)
        >>> with exchange_within(None):  # mesh.get_group("data") in a training on a mesh
        ...     out = quantizer(torch.randn(2, 10, 4))
    """
    global _group
    if group is not None and dist.get_rank(group) < 0:
        raise ValueError(f"rank {dist.get_rank()} is not one of the process group that was given")
    before, _group = _group, group
    try:
        yield
    finally:
        _group = before


def num_ranks() -> int:
    """Return the number of processes that train together; 1 without a process group."""
    return dist.get_world_size(_group) if dist.is_available() and dist.is_initialized() else 1


def own_rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank(_group) if num_ranks() > 1 else 0


def join_ranks(backend: str) -> None:
    """Join the process group of ``torchrun`` on one machine, also where ``--max-restarts`` has started the processes anew.

    The agent's store outlives the processes: under the usual names a second attempt finds the addresses of the first one, whose processes
    are gone, and fails. So each attempt has names of its own. Agents of several machines count attempts differently; there nothing is
    joined, and ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`` in torchrun's environment gives each attempt a new store.

    Args:
        backend: ``"gloo"`` or ``"nccl"``.
    """
    one_agent = os.environ.get("GROUP_WORLD_SIZE") == "1" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not one_agent or dist.is_initialized():
        return
    store, rank, world = next(dist.rendezvous("env://"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    dist.init_process_group(
        backend, store=dist.PrefixStore(f"vqkit attempt {attempt}", store), rank=rank, world_size=world
    )
    if backend == "nccl":  # it complains of groups that nobody ended
        atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def sum_over_ranks(value: Tensor) -> Tensor:
    """Sum of the ranks' tensors, without gradient."""
    return value if num_ranks() == 1 else _reduced(value, dist.ReduceOp.SUM)


def sum_together(values: list[Tensor]) -> list[Tensor]:
    """Sums of several float32 tensors, of any shapes, over ranks in one exchange: its start costs more than some kilobytes do."""
    if num_ranks() == 1 or not values:
        return values
    joint = sum_over_ranks(torch.cat([value.flatten() for value in values]))
    parts = joint.split([value.numel() for value in values])
    return [part.view(value.shape) for part, value in zip(parts, values, strict=True)]


def mean_over_ranks(value: Tensor) -> Tensor:
    """Average of the ranks' tensors, without gradient where there are several."""
    return value if num_ranks() == 1 else _reduced(value, dist.ReduceOp.SUM) / num_ranks()


def max_over_ranks(value: Tensor) -> Tensor:
    """The largest of the ranks' tensors, element by element, without gradient."""
    return value if num_ranks() == 1 else _reduced(value, dist.ReduceOp.MAX)


def gather_ranks(value: Tensor) -> Tensor:
    """The ranks' tensors, stacked in the order of the ranks."""
    own = value.detach()[None].contiguous()  # a compiled graph cannot gather what has no dimension
    if num_ranks() == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(num_ranks())]
    dist.all_gather(parts, own, group=_group)
    return torch.cat(parts)


def from_first_rank(value: Tensor) -> Tensor:
    """Rank 0's tensor, on every rank, without gradient where there are several."""
    # a sum with zeros, not a broadcast: torch.compile(fullgraph=True) traces only the former
    return sum_over_ranks(value if own_rank() == 0 else torch.zeros_like(value))


def follow_first_rank(model: nn.Module) -> None:
    """Give every rank rank 0's parameters and persistent buffers."""
    if num_ranks() > 1:
        first = 0 if _group is None else dist.get_global_rank(_group, 0)
        for value in model.state_dict().values():
            dist.broadcast(value, src=first, group=_group)


def _reduced(value: Tensor, operation: Any) -> Tensor:
    value = value.detach().clone(memory_format=torch.contiguous_format)  # all_reduce writes into what it is given
    dist.all_reduce(value, op=operation, group=_group)
    return value
