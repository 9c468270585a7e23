"""A training step of all codebooks of a quantizer, in two exchanges between ranks, however many codebooks there are.

Search and look-up of all stages come first. Then go, in one message, the clusters of all codebooks, and for those with revival also every
rank's number of vectors and the random numbers of rank 0; in a second one, the vectors that revival picked. Every rank then writes the same
codes. The third exchange of a step weighs the losses, see `rank_weight`. docs/distributed.md counts the bytes.
"""

import torch
from torch import Tensor

from vqkit.quantize.codebook import Codebook
from vqkit.quantize.joint import JointBatch
from vqkit.ranks import sum_together

__all__ = ["LearningStep", "learn_together"]

LearningStep = tuple[Codebook, list[Tensor], JointBatch | None, int]
"""A codebook, its `Codebook.own_part` of a training step, the vectors where revival may want some, and of how many batch items."""


@torch.no_grad()
def learn_together(steps: list[LearningStep]) -> None:
    """One training step of several codebooks: what ranks exchange of all of them goes in one message, and rows for revival in another.

    Args:
        steps: In the same order on all ranks.
    """
    steps = _one_a_codebook(steps)
    sums = iter(sum_together([part for _, parts, _, _ in steps for part in parts]))
    joint = [[next(sums) for _ in parts] for _, parts, _, _ in steps]
    wanted = [book.update_from(batch, parts) for (book, _, batch, _), parts in zip(steps, joint, strict=True)]
    found = [
        book.own_targets(batch, places)
        for (book, _, batch, _), places in zip(steps, wanted, strict=True)
        if batch is not None and places is not None
    ]
    rows = iter(sum_together(found))
    for (book, _, batch, _), places in zip(steps, wanted, strict=True):
        book.revive_from(batch, None if places is None else next(rows))


def _one_a_codebook(steps: list[LearningStep]) -> list[LearningStep]:
    """Join the steps of a codebook that several stages or scales share: it learns once a forward, from the vectors of all of them."""
    groups: list[list[LearningStep]] = []
    for step in steps:
        group = next((group for group in groups if group[0][0] is step[0]), None)
        if group is None:
            groups.append([step])
        else:
            group.append(step)
    return [group[0] if len(group) == 1 else _joined(group) for group in groups]


def _joined(group: list[LearningStep]) -> LearningStep:
    book, first, batch, items = group[0]
    clusters = torch.stack([parts[0] for _, parts, _, _ in group]).sum(dim=0)
    if batch is None:
        return book, [clusters], None, items
    counts = torch.stack([parts[1] for _, parts, _, _ in group]).sum(dim=0)
    whole = JointBatch.joined([other for _, _, other, _ in group if other is not None], items)
    return book, [clusters, counts, first[2]], whole, items
