"""A codebook whose parameter is split over ranks by FSDP2's ``fully_shard``.

Between steps such a parameter is a DTensor, of which each rank holds a part; within a forward pass it is replaced by a gathered copy that
is thrown away afterwards. What a codebook learns there has to reach the part, which the optimizer and the next gathering see.

References:
    torch.distributed.fsdp.fully_shard, https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html.
"""

from typing import Any

from torch import Tensor

__all__ = ["is_sharded", "own_part"]


def is_sharded(value: Any) -> bool:
    """Whether a parameter is a DTensor; asked by what it has, since importing DTensor takes most of a second."""
    return hasattr(value, "placements") and hasattr(value, "device_mesh")


def own_part(value: Tensor, sharded: Any) -> Tensor:
    """The part of a tensor, whole and equal on every rank, that this rank holds of a DTensor of its shape; exchanges nothing."""
    from torch.distributed.tensor import DTensor, Replicate

    mesh = sharded.device_mesh
    whole = DTensor.from_local(value.to(mesh.device_type), mesh, [Replicate()] * mesh.ndim, run_check=False)
    part: Tensor = whole.redistribute(placements=sharded.placements).to_local()
    return part
