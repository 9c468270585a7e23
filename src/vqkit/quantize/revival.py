"""What revival makes of codes: random numbers that can be summed over ranks, the vectors that they pick, and where codes go by these.

References:
    ``"split"``: Linde, Buzo & Gray, "An algorithm for vector quantizer design" (1980), doi:10.1109/TCOM.1980.1094577.
    ``"restart"``: Dhariwal et al., "Jukebox: a generative model for music" (2020), arXiv:2005.00341.
    ``"cvq"``: Zheng & Vedaldi, "Online clustered codebook" (2023), arXiv:2307.15139.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from vqkit.quantize.joint import JointBatch
from vqkit.types import Float, Int

__all__ = ["REPLACED", "own_targets", "picked_places", "random_numbers"]

REPLACED = ("split", "restart")
"""Ways of revival that replace codes which are used too little, and leave the others alone."""

# Of the way from a code to a vector that chose it: there a code is put that splits it. In many dimensions a vector is nearer to no other
# vector than their code is, and a code that becomes one stays alone; after a tenth of the way it takes a good part of the other's vectors.
_SPLIT = 0.1
_PART_BITS = 20  # of a random whole number: what a float32 holds exactly


def random_numbers(revive: str, anchor: str, num_codes: int, like: Tensor) -> Float[Tensor, "numbers num_codes"]:
    """Random numbers for each code, as float32; none where anchors are searched for.

    Args:
        revive: ``"split"``, ``"restart"`` or ``"cvq"``, see `Codebook`.
        anchor: where ``"cvq"`` takes its anchors, see `Codebook`.
        num_codes: How many codes there are.
        like: A tensor on the right device.
    """
    if revive in REPLACED:  # places of the vectors, and the order in which codes get them
        return torch.rand(2, num_codes, dtype=torch.float32, device=like.device)
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
    if revive in REPLACED:
        # a stratified sample follows the batch's order, and a code's index must not pick its place
        return batch.strata(drawn[0])[drawn[1].argsort(stable=True)]
    if anchor == "random":
        first, second, third = drawn.long()
        return batch.uniform((first << 2 * _PART_BITS) + (second << _PART_BITS) + third)
    return None


def own_targets(
    revive: str, batch: JointBatch, places: Int[Tensor, " codes"], codebook: Callable[[], Float[Tensor, "codes dim"]]
) -> Float[Tensor, "codes dim"]:
    """Where each code goes if it is revived; zeros where that depends on a vector of another rank.

    Args:
        revive: how codes are revived, see `Codebook`.
        batch: this rank's vectors, with their codes.
        places: one vector of the joint batch for each code.
        codebook: gives the table; it is asked only where it is needed, since a sharded one has to be gathered.
    """
    return batch.own_between(places, codebook(), _SPLIT) if revive == "split" else batch.own_rows(places)
