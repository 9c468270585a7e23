"""Bands of a vector that are coded one after the other."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from vqkit.quantize.base import Quantizer, Step

__all__ = ["Bands"]


class Bands(Quantizer):
    """Concatenate the quantized consecutive segments of the vector; each band is one stage.

    Unlike the pieces of a `Product`, which share every stage, the first stages decode the first bands alone, with zeros behind them: put
    what matters most in front, such as the low frequencies of a transform. A band's own stages are not told apart.

    Args:
        bands: quantizers, different objects; together they cover the vector.

    Raises:
        ValueError: no bands, one object given twice, or a band that looks at neighbours.

    Example:
        >>> import torch
        >>> from vqkit import FSQ, RVQ
        >>> q = Bands([RVQ(4, 16, 2), FSQ(3, [5, 5, 5])])
        >>> codes = q.encode(torch.randn(2, 7, 7))
        >>> q.code_sizes, q.codes_per_stage, q.decode(codes, stages=1)[..., 4:].abs().max().item()
        ((16, 16, 125), (2, 1), 0.0)

    References:
        Wallace, "The JPEG still picture compression standard" (1992), section 6: spectral selection.
    """

    def __init__(self, bands: Sequence[Quantizer]) -> None:
        super().__init__()
        if len({id(band) for band in bands}) != len(bands) or not bands:
            raise ValueError(f"bands must be different quantizers, at least one; got {len(bands)}")
        if any(band.needs_grid for band in bands):
            raise ValueError("Bands cuts single vectors: put Interpolated around it")
        self.bands = cast("Sequence[Quantizer]", nn.ModuleList(bands))
        self.dim = sum(band.dim for band in bands)
        self.straight_through = all(band.straight_through for band in bands)

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabets of all bands, one after the other."""
        return tuple(size for band in self.bands for size in band.code_sizes)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Codes of each band."""
        return tuple(band.num_codes for band in self.bands)

    @property
    def codebook_numel(self) -> int:
        """Sum over the bands."""
        return sum(band.codebook_numel for band in self.bands)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the first band's codebook."""
        return self.bands[0].dtype

    def _cut(self, x: Tensor) -> Iterator[tuple[Quantizer, Tensor]]:
        return zip(self.bands, x.split([band.dim for band in self.bands], dim=-1), strict=True)

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        steps = [band._quantize(part, mask) for band, part in self._cut(x)]
        terms: dict[str, Tensor] = {}
        for band, (_, _, losses) in zip(self.bands, steps, strict=True):
            for name, value in losses.items():  # a band counts by its share of the vector
                terms[name] = terms.get(name, 0) + value * (band.dim / self.dim)
        return (
            torch.cat([z_q for z_q, _, _ in steps], dim=-1),
            torch.cat([codes for _, codes, _ in steps], dim=-1),
            terms,
        )

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return torch.cat([band._encode(part, mask) for band, part in self._cut(x)], dim=-1)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        parts = codes.split([band.num_codes for band in self.bands[:stages]], dim=-1)
        found = [band._decode(own, band.num_stages) for band, own in zip(self.bands, parts, strict=False)]
        rest = sum(band.dim for band in self.bands[stages:])
        return torch.cat(
            [*found, torch.zeros(*codes.shape[:-1], rest, dtype=torch.float32, device=codes.device)], dim=-1
        )

    def _fit(self, x: Tensor, iterations: int) -> None:
        for band, part in self._cut(x):
            band._fit(part, iterations)
