"""Weights that FSDP has split over ranks, whole again: for checkpoints, saved models, and all that is no step of training.

step:     module ─ child, of whose weights each rank holds a part (DTensor), gathered layer by layer
between:  module ─ twin of the child, with all weights ─ k-means, rotations, probes, save_pretrained … ─ parts again
"""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from vqkit.quantize.sharding import is_sharded, own_part

__all__ = ["Twin", "part_like", "release", "without_parts"]


def without_parts(state: Any, keep: bool = True) -> Any:
    """Dictionaries, lists and tuples of tensors with every split tensor whole, on the CPU; every rank has to call.

    Args:
        state: what to gather.
        keep: whether this rank wants the tensors; without, it takes part and keeps none of them.
    """
    if isinstance(state, dict):
        return {key: without_parts(value, keep) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(without_parts(value, keep) for value in state)
    if not is_sharded(state):
        return state
    whole = state.full_tensor()
    return whole.cpu() if keep else None


def part_like(value: Tensor, own: Any) -> Any:
    """The part of a whole tensor that a rank holds where ``own`` is split, as a DTensor; the tensor itself where it is not."""
    if not is_sharded(own) or is_sharded(value):
        return value
    from torch.distributed.tensor import DTensor

    mesh = own.device_mesh
    part = own_part(value, own).clone()
    return DTensor.from_local(part, mesh, own.placements, run_check=False, shape=own.shape, stride=tuple(own.stride()))


def release(module: nn.Module) -> None:
    """Let go of weights that are still gathered: only the parts count between two steps."""
    for part in module.modules():
        if hasattr(part, "reshard"):  # what fully_shard gives a module
            cast(Any, part).reshard()


class Twin:
    """A copy of a module from before its weights were split; it has memory for them only while it is `filled`.

    Everything else it shares with the split module: buffers, and settings that changed since.

    Args:
        module: a module whose weights are not split yet.
    """

    def __init__(self, module: nn.Module) -> None:
        nothing = {
            id(value): nn.Parameter(torch.empty_like(value, device="meta"), requires_grad=value.requires_grad)
            for value in module.parameters()
        }
        self.module: nn.Module = copy.deepcopy(module, nothing)

    @torch.no_grad()
    def filled(self, split: nn.Module, device: torch.device, keep: bool = True) -> nn.Module:
        """The copy with the weights of now; every rank has to call.

        Args:
            split: the module whose copy it is.
            device: where the weights are wanted.
            keep: whether this rank wants them; without, its copy stays empty.
        """
        known: dict[int, nn.Parameter] = {}
        for own, whole in zip(split.modules(), self.module.modules(), strict=True):
            for name, value in own._parameters.items():
                if value is None:
                    continue
                if id(value) not in known:
                    gathered = cast(Any, value).full_tensor() if is_sharded(value) else value.detach()
                    found = gathered.to(device) if keep else torch.empty_like(gathered, device="meta")
                    known[id(value)] = nn.Parameter(found, requires_grad=value.requires_grad)
                whole._parameters[name] = known[id(value)]
            whole._buffers.update(own._buffers)
            whole.__dict__.update(_settings(own))
        return self.module

    @torch.no_grad()
    def give_back(self, split: nn.Module) -> None:
        """Take over into the split module what was changed in the copy; equal on every rank."""
        for own, whole in zip(split.modules(), self.module.modules(), strict=True):
            for name, value in own._parameters.items():
                changed = whole._parameters[name]
                if value is None or changed is None:
                    continue
                if is_sharded(value):
                    cast(Any, value).to_local().copy_(own_part(changed.detach(), value))
                elif value.data_ptr() != changed.data_ptr():
                    value.copy_(changed)
            own._buffers.update(whole._buffers)
            own.__dict__.update(_settings(whole))

    def empty(self) -> None:
        """Free the weights."""
        for whole in self.module.modules():
            for name, value in whole._parameters.items():
                if value is not None:
                    nothing = torch.empty_like(value, device="meta")
                    whole._parameters[name] = nn.Parameter(nothing, requires_grad=value.requires_grad)


def _settings(module: nn.Module) -> dict[str, Any]:
    """Attributes that are numbers or words, such as the mode, and whether a codebook is frozen."""
    return {
        name: value
        for name, value in vars(module).items()
        if (value is None or type(value) in (bool, int, float, str)) and "fsdp" not in name
    }
