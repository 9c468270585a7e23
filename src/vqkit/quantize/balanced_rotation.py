"""A rotation after which the pieces of vectors are worth the same.

Product quantizers (PVQ, LooC, IVQ) spend as many bits on every piece. Where the pieces of a latent see the same few directions, they code
these again and again. Principal components dealt out to the pieces in turn are uncorrelated, and each piece gets its share of every size,
in the same order, so that pieces can share a codebook. A piece deals its components out to its parts in the same way, and so on: pieces
are balanced however fine they are.

References:
    Ge et al., "Optimized product quantization" (2013), section 4.2 (components allocated to balanced pieces).
"""

import torch
from torch import Tensor

from vqkit.types import Float

__all__ = ["balanced_rotation"]

_FIRST = (2, 2, 3)  # pieces by 2, 4 and 12 come first; then those by the other factors of dim


@torch.no_grad()
def balanced_rotation(vectors: Float[Tensor, "vectors dim"]) -> Float[Tensor, "dim dim"]:
    """Orthonormal matrix R; ``vectors @ R`` has uncorrelated coordinates, dealt out to pieces, their parts and so on in turn.

    Args:
        vectors: more of them than dim.

    Returns:
        R, of determinant 1 or −1.

    Raises:
        ValueError: no more vectors than dim.

    Example:
        >>> x = torch.randn(1000, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0])
        >>> (x @ balanced_rotation(x)).std(dim=0).round().tolist()  # two pieces of two coordinates
        [4.0, 2.0, 3.0, 1.0]
    """
    count, dim = vectors.shape
    if count <= dim:
        raise ValueError(f"a rotation of {dim} dimensions needs more than {dim} vectors, got {count}")
    _, components = torch.linalg.eigh(torch.cov(vectors.double().T).reshape(dim, dim))
    components = components.flip(1)  # largest first
    strongest = components.gather(0, components.abs().argmax(dim=0, keepdim=True))
    return (components * strongest.sign())[:, _dealt(dim)].to(vectors.dtype)


def _dealt(dim: int) -> Tensor:
    """Which component, counted from the largest, each coordinate gets: its number with the digits in reverse, in a mixed base."""
    base, rest = [], dim
    for factor in _FIRST:
        if rest % factor == 0:
            base.append(factor)
            rest //= factor
    for factor in range(2, rest + 1):
        while rest % factor == 0:
            base.append(factor)
            rest //= factor
    return torch.arange(dim).reshape(*reversed(base), 1).permute(*reversed(range(len(base) + 1))).flatten()
