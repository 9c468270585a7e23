"""RandomProjection: tokens from a frozen random map and a frozen random codebook, the targets of BEST-RQ."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import positive
from vqkit.quantize.search import nearest
from vqkit.quantize.straight_through import straight_through
from vqkit.types import Float

__all__ = ["RandomProjection"]


class RandomProjection(Quantizer):
    """k = argmin_j ‖norm(P(z − μ)/σ) − norm(c_j)‖ with P and c drawn once; nothing is learned, and there is no loss.

    What comes out of `decode` is a coarse estimate, g·P⁺norm(c_k) scaled back, of use only to compare errors.

    Args:
        dim: length of the vectors.
        codebook_size: number of codes K; log2 K bits a vector.
        code_dim: length of the codes.
        seed: seed of P (Xavier uniform) and of the codes (normal).

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> vectors = torch.randn(1000, 80) + 3
        >>> q = RandomProjection(dim=80, codebook_size=256).fit(vectors)  # takes mean and deviation: without them few codes are used
        >>> len(q.encode(vectors[None]).unique()) > 200
        True

    References:
        Chiu et al., "Self-supervised learning with random-projection quantizer for speech recognition" (BEST-RQ, 2022),
        arXiv:2202.01855, section 3.1.
    """

    straight_through = True
    projection: Tensor
    inverse: Tensor
    codes: Tensor
    mean: Tensor
    deviation: Tensor
    gain: Tensor

    def __init__(self, dim: int, codebook_size: int, *, code_dim: int = 16, seed: int = 0) -> None:
        super().__init__()
        self.dim, self.codebook_size = positive("dim", dim), positive("codebook_size", codebook_size)
        self.code_dim, self.seed = positive("code_dim", code_dim), seed
        self.register_buffer("projection", torch.empty(code_dim, dim))
        self.register_buffer("inverse", torch.empty(dim, code_dim))
        self.register_buffer("codes", torch.empty(codebook_size, code_dim))
        self.register_buffer("mean", torch.empty(dim))
        self.register_buffer("deviation", torch.empty(dim))
        self.register_buffer("gain", torch.empty(()))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does."""
        if self.projection.is_meta:
            return
        generator = torch.Generator().manual_seed(self.seed)
        limit = (6 / (self.dim + self.code_dim)) ** 0.5
        self.projection.copy_((torch.rand(self.projection.shape, generator=generator) * 2 - 1) * limit)
        self.inverse.copy_(torch.linalg.pinv(self.projection.double()))
        self.codes.copy_(F.normalize(torch.randn(self.codes.shape, generator=generator), dim=-1))
        self.mean.zero_()
        self.deviation.fill_(1)
        self.gain.fill_(1)

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """The codebook size."""
        return (self.codebook_size,)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """One code."""
        return (1,)

    @property
    def codebook_numel(self) -> int:
        """K·code_dim floats."""
        return self.codes.numel()

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the codes."""
        return self.codes.dtype

    def _direction(self, x: Tensor) -> Tensor:
        return F.normalize((x - self.mean.float()) / self.deviation.float() @ self.projection.float().T, dim=-1)

    def _values(self) -> Float[Tensor, "codes dim"]:
        return (
            self.gain.float() * (self.codes.float() @ self.inverse.float().T) * self.deviation.float()
            + self.mean.float()
        )

    def _own_tables(self) -> list[Tensor]:
        return [self.codes]

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        codes = self._encode(x.detach(), mask)
        return straight_through(x, self._decode(codes, 1)), codes, {}

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        codes = nearest(self._direction(x.reshape(-1, self.dim)), self.codes.float()).reshape(x.shape[:-1])
        return (codes if mask is None else torch.where(mask, codes, -1))[..., None]

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        return torch.where(codes < 0, 0.0, F.embedding(codes[..., 0].clamp_min(0), self._values()))

    def _fit(self, x: Tensor, iterations: int) -> None:
        self.mean.copy_(x.mean(dim=0))
        self.deviation.copy_(x.std(dim=0, correction=0).clamp_min(1e-6))
        self.gain.fill_(1)
        found = self._decode(self._encode(x, None), 1) - self.mean
        self.gain.copy_(((x - self.mean) * found).sum() / found.square().sum().clamp_min(1e-12))
