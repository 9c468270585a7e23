"""Codebook statistics of a comparison, the same for every modality: usage, residual energy, values by number of stages."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vqkit.metrics import CodebookUsage
from vqkit.quantize import Product, Quantizer

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = [
    "counted",
    "curve_stages",
    "energy_of_fields",
    "residual_energy",
    "usage_of",
    "use_by_part",
    "values_of",
]

_HISTOGRAM_SIZES = 1 << 16  # alphabets up to here get a histogram for entropy coding


def counted(quantizer: Quantizer, codes: Iterable[Tensor]) -> list[Tensor] | None:
    """Count how often each code occurs in packed codes (places, num_codes); None for alphabets too large to count."""
    sizes = quantizer.packed_sizes
    if max(sizes) > _HISTOGRAM_SIZES:
        return None
    counts = [torch.zeros(size, dtype=torch.long) for size in sizes]
    for block in codes:
        for count, column in zip(counts, block.unbind(dim=1), strict=True):
            count += torch.bincount(column, minlength=len(count))
    return counts


def usage_of(quantizer: Quantizer) -> CodebookUsage:
    """An empty count of the quantizer's codes."""
    return CodebookUsage(quantizer.code_sizes, quantizer.codes_per_stage, shared=_shared(quantizer))


def use_by_part(usage: CodebookUsage) -> dict[str, Any]:
    """Use of the codebooks pooled, by stage and by piece."""
    report = usage.compute().to_dict()
    return {"pooled": report["pooled"], "stages": report["per_stage"], "pieces": report["per_piece"]}


def _shared(quantizer: Quantizer) -> bool:
    """Return whether the sub-vectors of each stage share one codebook."""
    products = [module for module in quantizer.modules() if isinstance(module, Product)]
    return bool(products) and all(product.repeats > 1 and len(product.pieces) == 1 for product in products)


def values_of(metrics: "MetricCollection") -> dict[str, float | None]:
    """Compute each metric's value by name; None for one that would need more clips, as a Fréchet distance of a single window."""
    values: dict[str, float | None] = {}
    for name, metric in metrics.items():
        try:
            values[name] = float(metric.compute())
        except ValueError:
            values[name] = None
    return values


def residual_energy(quantizer: Quantizer, z: Tensor, codes: Tensor, spatial_dims: int = 1) -> list[float]:
    """Compute the share of the energy of latents (places, dim) that is left after 0, 1, … stages, each place by itself."""
    energy = z.square().sum()
    left = [1.0]
    alone = codes.reshape(len(codes), *[1] * spatial_dims, -1)
    for stages in range(1, quantizer.num_stages + 1):
        found = quantizer.decode(alone, stages=stages).reshape(z.shape)
        left.append(float((z - found).square().sum() / energy))
    return left


def energy_of_fields(quantizer: Quantizer, z: Tensor, codes: Tensor) -> Tensor:
    """Compute the squared error of latents (batch, *spatial, dim) after 0, 1, … stages, for codes that belong to several places each."""
    errors = [z.square().sum()]
    for stages in range(1, quantizer.num_stages + 1):
        errors.append((z - quantizer.decode(codes, stages=stages)).square().sum())
    return torch.stack(errors)


def curve_stages(quantizer: Quantizer) -> list[int]:
    """Return the numbers of stages whose quality is measured: 1, 2, 4, … and all; none where there is one stage only."""
    most = quantizer.num_stages
    return sorted({*(1 << n for n in range(8) if 1 << n < most), most}) if most > 1 else []
