"""Stages that are plain codebooks, as a training step sees them."""

from collections.abc import Sequence
from typing import NamedTuple

from vqkit.quantize.base import Quantizer
from vqkit.quantize.product import Product
from vqkit.quantize.vq import VQ

__all__ = ["Leaf", "keeps_vectors", "plain_leaves"]


class Leaf(NamedTuple):
    """A codebook and how many consecutive pieces of a stage it serves."""

    quantizer: VQ
    repeats: int


def plain_leaves(stages: Sequence[Quantizer], chosen: bool) -> list[list[Leaf]] | None:
    """The codebooks of every stage; None where a stage is more than codebooks with a straight-through gradient and the two pulls.

    Args:
        stages: in the order of their codes.
        chosen: the codes are there already; otherwise they are the nearest.
    """
    found = []
    for stage in stages:
        pieces, repeats = (stage.pieces, stage.repeats) if type(stage) is Product else ([stage], 1)
        leaves = [Leaf(piece, repeats) for piece in pieces if type(piece) is VQ and _only_pulls(piece, chosen)]
        weights = {(leaf.quantizer.commitment_weight, leaf.quantizer.codebook_weight) for leaf in leaves}
        if len(leaves) < len(pieces) or len(weights) > 1:
            return None
        found.append(leaves)
    return found


def _only_pulls(leaf: VQ, chosen: bool) -> bool:
    """Whether a step is a look-up of the nearest or the chosen codes, a straight-through gradient and the two pulls, and no more."""
    more = leaf.gradient != "straight-through" or leaf.unit or leaf.orthogonality_weight or leaf.diversity_weight
    return not more and (chosen or leaf.assignment == "nearest" or not leaf.training)


def keeps_vectors(leaf: VQ) -> bool:
    """Whether a training step keeps the vectors, since some of them may become codes."""
    return leaf.learning and leaf.codebook.revive != "none" and not leaf.codebook.frozen
