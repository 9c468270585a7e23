"""A rotation after which the pieces of vectors are worth the same.

Product quantizers (PVQ, LooC, IVQ) spend as many bits on every piece. Where the pieces of a latent see the same few directions, they
code these again and again. Principal components dealt out to the pieces in turn are uncorrelated, and each piece gets its share of every
size; within a piece they go from large to small, so that pieces can share a codebook.

References:
    Ge et al., "Optimized product quantization" (2013), section 4.2 (components allocated to balanced pieces).
"""

import math

import torch
from torch import Tensor

from vqkit.types import Float

__all__ = ["balanced_rotation"]

_PIECES = 12  # dealt to 12, pieces by 1, 2, 3, 4 and 6 are balanced too


@torch.no_grad()
def balanced_rotation(vectors: Float[Tensor, "vectors dim"]) -> Float[Tensor, "dim dim"]:
    """Orthonormal matrix R; ``vectors @ R`` has uncorrelated coordinates, dealt out to gcd(dim, 12) pieces in turn.

    Args:
        vectors: more of them than dim.

    Returns:
        R, of determinant 1 or −1.

    Raises:
        ValueError: no more vectors than dim.

    Example:
        >>> x = torch.randn(1000, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0])
        >>> (x @ balanced_rotation(x)).std(dim=0).round().tolist()  # 4 pieces of one coordinate
        [4.0, 3.0, 2.0, 1.0]
    """
    count, dim = vectors.shape
    if count <= dim:
        raise ValueError(f"a rotation of {dim} dimensions needs more than {dim} vectors, got {count}")
    _, components = torch.linalg.eigh(torch.cov(vectors.double().T).reshape(dim, dim))
    components = components.flip(1)  # largest first
    strongest = components.gather(0, components.abs().argmax(dim=0, keepdim=True))
    pieces = math.gcd(dim, _PIECES)
    dealt = (components * strongest.sign()).reshape(dim, dim // pieces, pieces).transpose(1, 2)
    return dealt.reshape(dim, dim).to(vectors.dtype)
