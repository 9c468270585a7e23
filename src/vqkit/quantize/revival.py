"""Which vectors of the joint batch revival takes: random numbers that can be summed over ranks, and the places that they pick."""

import torch
from torch import Tensor

from vqkit.quantize.joint import JointBatch
from vqkit.types import Float, Int

__all__ = ["picked_places", "random_numbers"]

_PART_BITS = 20  # of a random whole number: what a float32 holds exactly


def random_numbers(revive: str, anchor: str, num_codes: int, like: Tensor) -> Float[Tensor, "numbers num_codes"]:
    """Random numbers for each code, as float32; none where anchors are searched for.

    Args:
        revive: ``"restart"`` or ``"cvq"``, see `Codebook`.
        anchor: where ``"cvq"`` takes its anchors, see `Codebook`.
        num_codes: How many codes there are.
        like: A tensor on the right device.
    """
    if revive == "restart":  # places of the vectors, and the order in which codes get them
        return torch.rand(2, num_codes, device=like.device)
    if anchor == "random":  # whole numbers of 60 bits, in three parts
        return torch.randint(1 << _PART_BITS, (3, num_codes), device=like.device).float()
    return like.new_zeros(0, num_codes)


def picked_places(
    revive: str, anchor: str, batch: JointBatch, drawn: Float[Tensor, "numbers num_codes"]
) -> Int[Tensor, " num_codes"] | None:
    """Places in the joint batch of the vectors for each code; None where anchors are searched for.

    Args:
        revive: how codes are revived, see `Codebook`.
        anchor: where ``"cvq"`` takes its anchors.
        batch: Knows how many vectors the ranks have.
        drawn: The numbers of rank 0.
    """
    if revive == "restart":
        # a stratified sample follows the batch's order, and a code's index must not pick its place
        return batch.strata(drawn[0])[drawn[1].argsort(stable=True)]
    if anchor == "random":
        first, second, third = drawn.long()
        return batch.uniform((first << 2 * _PART_BITS) + (second << _PART_BITS) + third)
    return None
