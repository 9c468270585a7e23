"""Nearest-code search: one matrix product and an argmax, in chunks, never an (N, K, D) tensor.

With ē the mean code, argmin_j ‖x − e_j‖² = argmax_j (x − ē)·(e_j − ē) − ½‖e_j − ē‖². Subtracting ē on both sides changes no decision
and keeps the products small when the latents sit far from the origin, where x·e_j would lose the small differences to rounding.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.types import Float, Int

__all__ = ["CHUNK_SCORES", "nearest", "nearest_plain", "similarity"]

CHUNK_SCORES = 1 << 23
"""Scores held at once by a search: 32 MiB of float32."""


def nearest(
    x: Float[Tensor, "vectors dim"], codebook: Float[Tensor, "codes dim"], distance: str = "l2"
) -> Int[Tensor, " vectors"]:
    """Index of the nearest code of every vector; ties go to the lowest index.

    Args:
        x: vectors, float32.
        codebook: codes, float32.
        distance: ``"l2"`` or ``"cosine"`` (angle only; the length of a code does not matter).

    Returns:
        int64 indices.

    Example:
        >>> import torch
        >>> nearest(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        tensor([1])
    """
    if distance == "cosine":
        mean = codebook.new_zeros(())
        direction, bias = F.normalize(codebook, dim=-1), codebook.new_zeros(codebook.shape[0])
    else:
        mean = codebook.mean(dim=0)
        direction = codebook - mean
        bias = -0.5 * direction.square().sum(dim=-1)
    rows = max(1, CHUNK_SCORES // codebook.shape[0])
    if torch.compiler.is_exporting() or x.shape[0] <= rows:  # an exported graph must not depend on the batch size
        return torch.addmm(bias, x - mean, direction.T).argmax(dim=1)
    return torch.cat([torch.addmm(bias, chunk - mean, direction.T).argmax(dim=1) for chunk in x.split(rows)])


def similarity(
    x: Float[Tensor, "*shape dim"], codebook: Float[Tensor, "codes dim"], distance: str
) -> Float[Tensor, "*shape codes"]:
    """−‖x − e‖², or the cosine, of every pair; the caller keeps the number of vectors small."""
    if distance == "cosine":
        return F.normalize(x, dim=-1) @ F.normalize(codebook, dim=-1).T
    mean = codebook.mean(dim=0)
    x, codebook = x - mean, codebook - mean
    return 2 * x @ codebook.T - x.square().sum(dim=-1, keepdim=True) - codebook.square().sum(dim=-1)


def nearest_plain(
    x: Float[Tensor, "vectors dim"], codebook: Float[Tensor, "codes dim"], distance: str = "l2"
) -> Int[Tensor, " vectors"]:
    """The plain twin of `nearest`: every difference formed, in float64. For tests and small inputs."""
    x, codebook = x.double(), codebook.double()
    if distance == "cosine":
        x, codebook = F.normalize(x, dim=-1), F.normalize(codebook, dim=-1)
    return (x[:, None] - codebook[None]).square().sum(dim=-1).argmin(dim=1)
