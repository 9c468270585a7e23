"""A codebook whose parameter is split over ranks by FSDP2's ``fully_shard``.

Between steps such a parameter is a DTensor, of which each rank holds a part; within a forward pass it is replaced by a gathered copy that
is thrown away afterwards. What a codebook learns there has to reach the part, which the optimizer and the next gathering see.

References:
    torch.distributed.fsdp.fully_shard, https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["is_sharded", "own_part", "refuse_parts"]


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


def refuse_parts(state: Mapping[str, Tensor]) -> None:
    """See that a state dict that is to be saved is whole.

    Raises:
        RuntimeError: a tensor is split over ranks; it is named.
    """
    for name, value in state.items():
        if is_sharded(value):
            raise RuntimeError(
                f"{name} is split over ranks (fully_shard), and only whole weights can be saved: gather them on all ranks by "
                "torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True, load them into a model that is "
                "not split, and save that one"
            )
