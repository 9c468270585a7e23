"""Embeddings and code vectors in the plane of the embeddings' two principal components, as in figure 3 of the IVQ paper."""

import math
from itertools import product
from typing import Any

import torch
from torch import Tensor

from vqkit.quantize import Quantizer
from vqkit.types import Float, Int

__all__ = ["code_cloud"]

_ALL = 1024  # a stage of up to so many code tuples is shown whole, others by a sample of _SAMPLE
_SAMPLE = 256
_EMBEDDINGS = 600


@torch.no_grad()
def code_cloud(
    quantizer: Quantizer, z: Float[Tensor, "frames dim"], codes: Int[Tensor, "frames codes"], spatial_dims: int = 1
) -> dict[str, Any]:
    """Project embeddings and the code vectors of every stage.

    Args:
        quantizer: quantizer in evaluation mode.
        z: embeddings.
        codes: their codes; a code vector counts as used if each of its codes occurs.
        spatial_dims: number of spatial dimensions of the latents that they were taken from.

    Returns:
        ``{"embeddings": [[x, y], …], "codes": [{"stage", "points", "used"}, …]}``. Vectors of later stages are corrections: they are
        shown about the mean of the embeddings.
    """
    mean = z.mean(dim=0)
    basis = (
        torch.linalg.eigh(torch.cov((z - mean).T)).eigenvectors.flip(1)[:, :2] if z.shape[1] > 1 else torch.ones(1, 2)
    )
    generator = torch.Generator().manual_seed(0)
    shown = torch.randperm(len(z), generator=generator)[:_EMBEDDINGS]
    stages, first = [], 0
    for stage, width in enumerate(quantizer.codes_per_stage):
        sizes = quantizer.code_sizes[first : first + width]
        tuples = _tuples(sizes, generator)
        whole = torch.full(
            (len(tuples), *[1] * spatial_dims, first + width), -1
        )  # −1 decodes to nothing: this stage alone
        whole.view(len(tuples), -1)[:, first:] = tuples
        vectors = quantizer.decode(whole).view(len(tuples), -1).float()
        hit = [torch.isin(tuples[:, i], codes[:, first + i]) for i in range(width)]
        points = (vectors - mean if stage == 0 else vectors) @ basis
        stages.append({"stage": stage + 1, "points": _rounded(points), "used": torch.stack(hit).all(dim=0).tolist()})
        first += width
    return {"embeddings": _rounded((z[shown] - mean) @ basis), "codes": stages}


def _tuples(sizes: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if math.prod(sizes) <= _ALL:
        return torch.tensor(list(product(*map(range, sizes))))
    return torch.stack([torch.randint(size, (_SAMPLE,), generator=generator) for size in sizes], dim=1)


def _rounded(points: Tensor) -> list[list[float]]:
    return [[round(x, 4), round(y, 4)] for x, y in points.tolist()]
