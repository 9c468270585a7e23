"""Quantization in a rotated space, where the energy of the vector lies as the inner quantizer likes it."""

import torch
from torch import Tensor

from vqkit.quantize.balanced_rotation import balanced_rotation
from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import one_of
from vqkit.quantize.straight_through import straight_through
from vqkit.quantize.wrapper import Wrapper
from vqkit.types import Float

__all__ = ["Rotated", "random_rotation"]

_ROUNDS = 8  # alternations of a fit


class Rotated(Wrapper):
    """z_q = Rᵀ q(Rz) with an orthogonal R that `fit` finds, as optimized product quantization does.

    A fit alternates between fitting the inner quantizer to Rz and R to what that gives: the best R is UVᵀ of the singular value
    decomposition of ẑᵀz (Procrustes). ``method="balanced"`` takes `balanced_rotation` instead, which needs no quantizer and no rounds: what
    training of a codec or tokenizer does at the start, where the model's own last layer takes up the rotation (`Tokenizer.rotate_latent`),
    so that nothing is multiplied by R later.

    Args:
        quantizer: the inner quantizer, of the same dim.
        seed: start from a random rotation drawn with this seed; None starts from the identity.
        learn_rotation: let `fit` change R; False keeps the start, for systems that look at no data.
        method: how `fit` finds R: ``"procrustes"`` or ``"balanced"``.

    Raises:
        ValueError: an inner quantizer that looks at neighbours, or another method.

    Example:
        >>> import torch
        >>> from vqkit import PVQ
        >>> vectors = torch.randn(2000, 8) @ torch.randn(8, 8)
        >>> plain, rotated = PVQ(8, 16, 4).fit(vectors).eval(), Rotated(PVQ(8, 16, 4)).fit(vectors).eval()
        >>> error = lambda q: (q(vectors[None]).z_q - vectors).square().mean()
        >>> bool(error(rotated) < error(plain))
        True

    References:
        Ge et al., "Optimized product quantization" (2013), IEEE TPAMI 36(4), section 3.1 (non-parametric); for ``"balanced"`` section 4.2.
    """

    rotation: Tensor

    def __init__(
        self,
        quantizer: Quantizer,
        *,
        seed: int | None = None,
        learn_rotation: bool = True,
        method: str = "procrustes",
    ) -> None:
        super().__init__(quantizer, quantizer.dim)
        if quantizer.needs_grid:
            raise ValueError("Rotated turns single vectors: put Interpolated around the Rotated")
        self.seed, self.learn_rotation = seed, learn_rotation
        self.method = one_of("method", method, ("procrustes", "balanced"))
        self.register_buffer("rotation", torch.empty(self.dim, self.dim))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does."""
        if self.rotation.is_meta:
            return
        start = torch.eye(self.dim) if self.seed is None else random_rotation(self.dim, self.seed)
        self.rotation.copy_(start)

    def _turned(self, x: Tensor) -> Tensor:
        return x @ self.rotation.float().T

    def _back(self, y: Tensor) -> Tensor:
        return y @ self.rotation.float()

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        y_q, codes, losses = self.quantizer._quantize(self._turned(x), mask)
        z_q = self._back(y_q)
        return straight_through(x, z_q) if self.straight_through else z_q, codes, losses

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.quantizer._encode(self._turned(x), mask)

    def _encode_first(self, x: Tensor, mask: Tensor | None, stages: int) -> Tensor:
        return self.quantizer._encode_first(self._turned(x), mask, stages)

    def _encode_at_rate(self, x: Tensor, mask: Tensor | None, rate_weight: float, stages: int) -> Tensor:
        return self.quantizer._encode_at_rate(self._turned(x), mask, rate_weight, stages)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        return self._back(self.quantizer._decode(codes, stages))

    def _fit(self, x: Tensor, iterations: int) -> None:
        balanced = self.method == "balanced"
        if self.learn_rotation and balanced:
            self.rotation.copy_(balanced_rotation(x).T)
        for _ in range(_ROUNDS if self.learn_rotation and not balanced else 0):
            y = self._turned(x)
            self.quantizer._fit(y, max(1, iterations // 4))
            y_q = self.quantizer._decode(self.quantizer._encode(y, None), self.num_stages)
            u, _, v = torch.linalg.svd(y_q.double().T @ x.double())
            self.rotation.copy_(u @ v)
        self.quantizer._fit(self._turned(x), iterations)


def random_rotation(dim: int, seed: int) -> Float[Tensor, "dim dim"]:
    """A rotation drawn evenly from all (QR of a Gaussian matrix with the signs of R's diagonal), the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
    return (q * r.diagonal().sign()).float()
