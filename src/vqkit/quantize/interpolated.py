"""Quantize an interpolated grid and average back: what lies between a vector and its neighbours is quantized too."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import one_of, positive
from vqkit.quantize.wrapper import Wrapper

__all__ = ["Interpolated"]

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class Interpolated(Wrapper):
    """Upsample by ``scale`` (linear, half-pixel centres), quantize every sub-position, average-pool back.

    The straight-through estimate is taken before the pooling. Masked neighbours have no part in the interpolation. With quantization
    switched off, scale 2 is the fixed separable blur [1/8, 3/4, 1/8].

    Args:
        quantizer: what quantizes the sub-positions: of the vector's dim with ``grouping="channels"``; of dim·scale^n with ``"folded"``.
        scale: s; each position has s^n sub-positions, so n times as many dims of space mean s^n times the codes.
        spatial_dims: n: 1 (sequence), 2 (map) or 3 (volume).
        grouping: ``"channels"`` quantizes each sub-position by itself; ``"folded"`` lays the sub-positions of a channel side by side
            (channel-major) and quantizes them as one longer vector.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> from vqkit import VQ
        >>> q = Interpolated(VQ(8, 16), scale=2, spatial_dims=2)
        >>> q(torch.randn(1, 4, 4, 8)).codes.shape
        torch.Size([1, 4, 4, 4])

    References:
        LooC, section 3 (extrapolation by interpolation).
    """

    def __init__(
        self, quantizer: Quantizer, *, scale: int = 2, spatial_dims: int = 2, grouping: str = "channels"
    ) -> None:
        if spatial_dims not in _MODES:
            raise ValueError(f"spatial_dims must be 1, 2 or 3, got {spatial_dims!r}")
        subs = positive("scale", scale) ** spatial_dims
        folded = one_of("grouping", grouping, ("channels", "folded")) == "folded"
        if folded and quantizer.dim % subs:
            raise ValueError(
                f"grouping='folded' needs a quantizer whose dim is a multiple of scale^n = {subs}, got {quantizer.dim}"
            )
        super().__init__(quantizer, quantizer.dim // subs if folded else quantizer.dim)
        self.straight_through, self.needs_grid = False, True
        self.scale, self.spatial_dims, self.subs, self.folded = scale, spatial_dims, subs, folded

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Each code of the inner quantizer, once for every sub-position."""
        return tuple(size for size in self.quantizer.code_sizes for _ in range(1 if self.folded else self.subs))

    @property
    def code_density(self) -> tuple[float, ...]:
        """The inner quantizer's density, once for every sub-position."""
        return tuple(share for share in self.quantizer.code_density for _ in range(1 if self.folded else self.subs))

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Codes of each stage of the inner quantizer, times the sub-positions."""
        return tuple(count * (1 if self.folded else self.subs) for count in self.quantizer.codes_per_stage)

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        fine, real = self._upsampled(x, mask)
        z_q, codes, losses = self.quantizer._quantize(fine, real)
        return self._pooled(z_q), self._merged(codes), losses

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self._merged(self.quantizer._encode(*self._upsampled(x, mask)))

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        if codes.ndim != self.spatial_dims + 2:
            raise ValueError(
                f"codes must have {self.spatial_dims} spatial dims (spatial_dims={self.spatial_dims}), got shape {tuple(codes.shape)}"
            )
        if not self.folded:
            codes = self._spread(codes.unflatten(-1, (-1, self.subs)))
        return self._pooled(self.quantizer._decode(codes, stages))

    def _fit(self, x: Tensor, iterations: int) -> None:
        self.quantizer._fit(x, iterations)

    @property
    def _fits_fields(self) -> bool:
        return self.quantizer.needs_grid

    def _fit_fields(self, fields: list[Tensor], **options: Any) -> None:
        self.quantizer.fit([self._upsampled(self._field(x), None)[0] for x in fields], **options)

    def _fit_rows(self, x: Tensor) -> Tensor:
        fine, _ = self._upsampled(self._field(x), None)
        return fine.reshape(-1, self.quantizer.dim)

    def _field(self, x: Tensor) -> Tensor:
        """Bare vectors are their own sub-positions, as in a constant field."""
        return x if x.ndim == self.spatial_dims + 2 else x.reshape(-1, *[1] * self.spatial_dims, self.dim)

    def _upsampled(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The vectors and the mask that the inner quantizer sees."""
        if x.ndim != self.spatial_dims + 2:
            raise ValueError(
                f"z must have {self.spatial_dims} spatial dims (spatial_dims={self.spatial_dims}), got shape {tuple(x.shape)}"
            )
        if mask is None:
            fine = self._interpolate(x)
        else:
            weight = mask[..., None].to(x.dtype)
            fine = self._interpolate(x) / self._interpolate(weight).clamp_min(0.25**self.spatial_dims)
        if self.folded:
            return self._gather(fine).flatten(start_dim=-2), mask
        if mask is not None:
            for axis in range(1, mask.ndim):
                mask = mask.repeat_interleave(self.scale, dim=axis)
            fine = torch.where(mask[..., None], fine, 0.0)
        return fine, mask

    def _interpolate(self, x: Tensor) -> Tensor:
        if not x.numel():  # PyTorch interpolates nothing that is empty
            for axis in range(1, 1 + self.spatial_dims):
                x = x.repeat_interleave(self.scale, dim=axis)
            return x
        fine = F.interpolate(
            x.movedim(-1, 1), scale_factor=self.scale, mode=_MODES[self.spatial_dims], align_corners=False
        )
        return fine.movedim(1, -1)

    def _pooled(self, fine: Tensor) -> Tensor:
        if self.folded:
            return fine.unflatten(-1, (self.dim, self.subs)).mean(dim=-1)
        if not fine.numel():  # nor does it pool it
            return self._gather(fine).mean(dim=-1)
        pooled: Tensor = _POOLS[self.spatial_dims](fine.movedim(-1, 1), self.scale)
        return pooled.movedim(1, -1)

    def _gather(self, fine: Tensor) -> Tensor:
        """(batch, s·a, s·b, …, c) → (batch, a, b, …, c, s^n)."""
        for axis in range(self.spatial_dims):
            fine = fine.unflatten(1 + 2 * axis, (-1, self.scale))
        n = self.spatial_dims
        whole, sub = [1 + 2 * axis for axis in range(n)], [2 + 2 * axis for axis in range(n)]
        return fine.permute(0, *whole, fine.ndim - 1, *sub).flatten(start_dim=-n)

    def _spread(self, gathered: Tensor) -> Tensor:
        """The inverse of `_gather`."""
        n = self.spatial_dims
        parts = gathered.unflatten(-1, [self.scale] * n)
        order = [0, *(index for axis in range(n) for index in (1 + axis, 2 + n + axis)), 1 + n]
        fine = parts.permute(order)
        for axis in range(n):
            fine = fine.flatten(1 + axis, 2 + axis)
        return fine

    def _merged(self, codes: Tensor) -> Tensor:
        return codes if self.folded else self._gather(codes).flatten(start_dim=-2)
