"""Gain–shape quantization: the length of a vector and its direction, each by its own quantizer."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.losses import pulls
from vqkit.quantize.straight_through import straight_through

__all__ = ["GainShape"]

_SMALLEST = 1e-6  # length below which a vector counts as of this length


class GainShape(Quantizer):
    """z_q = exp(ĝ)·ŝ/‖ŝ‖ with ŝ = shape(z/‖z‖), and ĝ = gain(log g) with g = z·ŝ/‖ŝ‖, the best length for that direction.

    The gain's codes and those of the shape's first stage are the first stage; further stages of the shape follow.

    The parts' own losses see a logarithm and a direction, so that they pull the less the longer a vector is: an encoder in training would
    let its latents grow without end. The commitment of the whole, in the vectors' own scale, keeps them.

    Args:
        gain: quantizer of dim 1 for the natural logarithm of the length, as ``VQ(1, 32)``.
        shape: quantizer of unit vectors.
        commitment_weight: weight of ‖z − sg z_q‖², beside the losses of the parts.

    Raises:
        ValueError: a gain that is not of dim 1 or of one stage, or parts that look at neighbours.

    Example:
        >>> import torch
        >>> from vqkit import RVQ, VQ
        >>> q = GainShape(VQ(1, 16), RVQ(dim=8, codebook_size=64, num_quantizers=2)).fit(torch.randn(500, 8))
        >>> q.bits_per_vector, q.codes_per_stage
        (16.0, (2, 1))

    References:
        Gersho & Gray, "Vector quantization and signal compression" (1992), chapter 12.10.
    """

    def __init__(self, gain: Quantizer, shape: Quantizer, *, commitment_weight: float = 0.25) -> None:
        super().__init__()
        if gain.dim != 1 or gain.num_stages != 1:
            raise ValueError(f"gain must have dim 1 and one stage, got dim {gain.dim} and {gain.num_stages} stages")
        if gain.needs_grid or shape.needs_grid:
            raise ValueError("GainShape splits single vectors: put Interpolated around it")
        self.gain, self.shape = gain, shape
        self.commitment_weight = commitment_weight
        self.dim = shape.dim
        self.straight_through = gain.straight_through and shape.straight_through

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabets of the gain's codes, then of the shape's."""
        return (*self.gain.code_sizes, *self.shape.code_sizes)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Codes of each stage of the shape; the first also has the gain's."""
        first, *others = self.shape.codes_per_stage
        return (self.gain.num_codes + first, *others)

    @property
    def codebook_numel(self) -> int:
        """Floats of both."""
        return self.gain.codebook_numel + self.shape.codebook_numel

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the shape's codebook."""
        return self.shape.dtype

    def _direction(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1, eps=_SMALLEST)

    def _log_gain(self, x: Tensor, direction: Tensor) -> Tensor:
        return (x * direction).sum(dim=-1, keepdim=True).clamp_min(_SMALLEST).log()

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        shape, shape_codes, losses = self.shape._quantize(self._direction(x), mask)
        direction = self._direction(shape)
        log_gain = self._log_gain(x, direction.detach())
        if mask is not None:
            log_gain = torch.where(mask[..., None], log_gain, 0.0)
        gain, gain_codes, gain_losses = self.gain._quantize(log_gain, mask)
        z_q = gain.exp() * direction
        for terms in (gain_losses, pulls(x, z_q, mask, self.commitment_weight, 0.0)):
            for name, value in terms.items():
                losses[name] = losses.get(name, 0) + value
        if self.straight_through:
            z_q = straight_through(x, z_q)
        return z_q, torch.cat([gain_codes, shape_codes], dim=-1), losses

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        shape_codes = self.shape._encode(self._direction(x), mask)
        direction = self._direction(self.shape._decode(shape_codes, self.shape.num_stages))
        return torch.cat([self.gain._encode(self._log_gain(x, direction), mask), shape_codes], dim=-1)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        gain_codes, shape_codes = codes.tensor_split([self.gain.num_codes], dim=-1)
        return self.gain._decode(gain_codes, 1).exp() * self._direction(self.shape._decode(shape_codes, stages))

    def _fit(self, x: Tensor, iterations: int) -> None:
        shape = self._direction(x)
        self.shape._fit(shape, iterations)
        found = self.shape._decode(self.shape._encode(shape, None), self.shape.num_stages)
        self.gain._fit(self._log_gain(x, self._direction(found)), iterations)
