"""Quantization in fewer dimensions: a linear map in, a bound if wanted, the inner quantizer, and a linear map out."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import one_of, positive
from vqkit.quantize.projection import Projection
from vqkit.quantize.wrapper import Wrapper

__all__ = ["Projected"]

_DEVIATIONS = (0.4, 0.6, 0.8, 1.0, 1.3)  # how far into tanh's bend a fit lets the data reach


class Projected(Wrapper):
    """y = bound(W_in z + b_in), z_q = W_out q(y) + b_out; without maps where ``dim`` is that of the inner quantizer.

    The losses of the inner quantizer, and what it learns, are about y. Searching in few dimensions is what keeps the codes of DAC and
    ViT-VQGAN alive; all stages of a `Residual` behind one projection refine the same y.

    Args:
        dim: length of the vectors.
        quantizer: the inner quantizer.
        bound: ``"none"``; ``"tanh"`` keeps y in (−1, 1), where grids lie; ``"sphere"`` gives y length 1.

    Raises:
        ValueError: an argument out of range, or an inner quantizer that looks at neighbours.

    Example:
        >>> import torch
        >>> from vqkit import RVQ
        >>> q = Projected(128, RVQ(dim=8, codebook_size=1024, num_quantizers=4))
        >>> q(torch.randn(2, 9, 128)).z_q.shape, q.codebook_numel
        (torch.Size([2, 9, 128]), 32768)

    References:
        Yu et al., "Vector-quantized image modeling with improved VQGAN" (2021), arXiv:2110.04627, section 3.2; Kumar et al.,
        "High-fidelity audio compression with improved RVQGAN" (DAC, 2023), arXiv:2306.06546, section 3.2.
    """

    def __init__(self, dim: int, quantizer: Quantizer, *, bound: str = "none") -> None:
        super().__init__(quantizer, positive("dim", dim))
        if quantizer.needs_grid:
            raise ValueError("Projected maps single vectors: put Interpolated around the Projected")
        self.bound = one_of("bound", bound, ("none", "tanh", "sphere"))
        self.projection = Projection(dim, quantizer.dim)
        self.straight_through = quantizer.straight_through and self.projection.inward is None and bound == "none"

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the map out; that of the inner quantizer where there is none."""
        return self.quantizer.dtype if self.projection.outward is None else self.projection.dtype

    def _inward(self, x: Tensor) -> Tensor:
        y = self.projection.into(x)
        if self.bound == "tanh":
            return torch.tanh(y)
        return F.normalize(y, dim=-1) if self.bound == "sphere" else y

    def _outward(self, y: Tensor, real: Tensor | None) -> Tensor:
        z = self.projection.out_of(y)
        return z if real is None else torch.where(real[..., None], z, 0.0)

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        y = self._inward(x)
        if mask is not None:  # the bias moves what was zero
            y = torch.where(mask[..., None], y, 0.0)
        y_q, codes, losses = self.quantizer._quantize(y, mask)
        return self._outward(y_q, (codes >= 0).any(dim=-1)), codes, losses

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.quantizer._encode(self._inward(x), mask)

    def _encode_first(self, x: Tensor, mask: Tensor | None, stages: int) -> Tensor:
        return self.quantizer._encode_first(self._inward(x), mask, stages)

    def _encode_at_rate(self, x: Tensor, mask: Tensor | None, rate_weight: float, stages: int) -> Tensor:
        return self.quantizer._encode_at_rate(self._inward(x), mask, rate_weight, stages)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        return self._outward(self.quantizer._decode(codes, stages), (codes >= 0).any(dim=-1))

    def _fit(self, x: Tensor, iterations: int) -> None:
        if self.projection.inward is None:
            self.quantizer._fit(self._inward(x), iterations)
            return
        best: tuple[float, dict[str, Any]] = (torch.inf, {})
        for deviation in _DEVIATIONS if self.bound == "tanh" else (None,):
            self.projection.fit_inward(x, deviation)
            y = self._inward(x)
            self.quantizer._fit(y, iterations)
            y_q = self.quantizer._decode(self.quantizer._encode(y, None), self.num_stages)
            self.projection.fit_outward(y_q, x)
            error = (self.projection.out_of(y_q) - x).square().mean().item()
            if error < best[0]:
                best = (error, {name: value.clone() for name, value in self.state_dict().items()})
        if best[1]:
            self.load_state_dict(best[1])
