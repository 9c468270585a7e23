"""Which vectors of the joint batch replace unused codes, drawn alike on all ranks.

Every rank draws numbers; those of one rank, handed on with the sums of the step, decide for all.
"""

import torch
from torch import Tensor

from vqkit.quantize.joint import JointBatch
from vqkit.types import Float, Int

__all__ = ["drawn_numbers", "wanted_places"]

_PART_BITS = 20  # of a random whole number: what a float32 holds exactly, with room for a sum


def drawn_numbers(revive: str, anchor: str, num_codes: int, like: Tensor) -> Float[Tensor, "numbers codes"]:
    """Random numbers that a step of revival needs, as float32; none where anchors follow from the vectors.

    Args:
        revive: ``"restart"`` or ``"cvq"``.
        anchor: for ``"cvq"``, see `Codebook`.
        num_codes: codes of the table.
        like: a tensor on the device.
    """
    if revive == "restart":
        # places of the vectors to draw, and the order in which codes get them
        return torch.rand(2, num_codes, device=like.device)
    if anchor == "random":
        # whole numbers of 60 bits, in parts that float32 holds
        return torch.randint(1 << _PART_BITS, (3, num_codes), device=like.device).float()
    return like.new_zeros(0, num_codes)


def wanted_places(
    revive: str, anchor: str, batch: JointBatch, drawn: Float[Tensor, "numbers codes"]
) -> Int[Tensor, " codes"] | None:
    """Places in the joint batch of the vectors that codes may become; None where anchors follow from the vectors."""
    if revive == "restart":
        # a stratified sample follows the batch's order, and a code's index must not pick its place
        return batch.strata(drawn[0])[drawn[1].argsort(stable=True)]
    if anchor == "random":
        first, second, third = drawn.long()
        return batch.uniform((first << 2 * _PART_BITS) + (second << _PART_BITS) + third)
    return None
