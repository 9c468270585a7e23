"""SimVQ: a frozen codebook that one learned linear map moves as a whole."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import positive
from vqkit.quantize.losses import pulls
from vqkit.quantize.search import nearest, offered, similarity
from vqkit.quantize.straight_through import straight_through
from vqkit.types import Float

__all__ = ["SimVQ"]

_ROUNDS = 10  # alternations of a fit


class SimVQ(Quantizer):
    """The codes are E·W with a frozen Gaussian E (codes, dim) and a learned W (dim, dim): every step moves all codes, used or not.

    Args:
        dim: length of the vectors.
        codebook_size: number of codes K; log2 K bits a vector.
        commitment_weight: weight of ‖z − sg e‖².
        codebook_weight: weight of ‖sg z − e‖², which moves W.
        seed: seed of E.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> q = SimVQ(dim=8, codebook_size=64)
        >>> sorted(q(torch.randn(2, 50, 8)).losses), q.bits_per_vector
        (['codebook', 'commitment'], 6.0)

    References:
        Zhu et al., "Addressing representation collapse in vector quantized models with one linear layer" (2024), arXiv:2411.02038.
    """

    straight_through = True
    base: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        commitment_weight: float = 0.25,
        codebook_weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.dim, self.codebook_size = positive("dim", dim), positive("codebook_size", codebook_size)
        self.commitment_weight, self.codebook_weight, self.seed = commitment_weight, codebook_weight, seed
        self.register_buffer("base", torch.empty(codebook_size, dim))
        self.transform = nn.Parameter(torch.empty(dim, dim))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does: E drawn with the seed, and W so that codes have about unit length."""
        if self.base.is_meta:
            return
        self.base.copy_(torch.randn(self.base.shape, generator=torch.Generator().manual_seed(self.seed)))
        self.transform.copy_(torch.eye(self.dim) / self.dim**0.5)

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
        """K·dim floats of E; W is a projection."""
        return self.base.numel()

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the map."""
        return self.transform.dtype

    @property
    def max_candidates(self) -> int:
        """Every code is a candidate."""
        return self.codebook_size

    def table(self) -> Float[Tensor, "codes dim"]:
        """The codes E·W in float32, differentiable in W."""
        transform = self.transform.float()
        return self.base.float() @ (transform.detach() if self._frozen else transform)

    def _own_tables(self) -> list[Tensor]:
        return [self.table()]

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        table = self.table()
        codes = nearest(x.detach().reshape(-1, self.dim), table.detach()).reshape(x.shape[:-1])
        return self._output(x, table, codes, mask)

    def _quantize_to(self, x: Tensor, mask: Tensor | None, codes: Tensor) -> Step:
        return self._output(x, self.table(), codes[..., 0].clamp_min(0), mask)

    def _output(self, x: Tensor, table: Tensor, codes: Tensor, mask: Tensor | None) -> Step:
        q = F.embedding(codes, table)
        if mask is not None:
            q, codes = torch.where(mask[..., None], q, 0.0), torch.where(mask, codes, -1)
        losses = pulls(x, q, mask, self.commitment_weight, self.codebook_weight)
        return straight_through(x, q), codes[..., None], losses

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        codes = nearest(x.reshape(-1, self.dim), self.table().detach()).reshape(x.shape[:-1])
        return (codes if mask is None else torch.where(mask, codes, -1))[..., None]

    def _candidates(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        if count == 1:
            return super()._candidates(x, 1)
        return offered(similarity(x, self.table().detach(), "l2"), count)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        found = F.embedding(codes[..., 0].clamp_min(0), self.table())
        return torch.where(codes < 0, 0.0, found)

    def _fit(self, x: Tensor, iterations: int) -> None:
        scale = (x.square().mean() / self.table().square().mean().clamp_min(1e-12)).sqrt()
        self.transform.mul_(scale)
        for _ in range(_ROUNDS):  # least squares from the chosen rows of E to the vectors
            rows = self.base[nearest(x, self.table())].double()
            ridge = 1e-6 * rows.square().mean() * len(rows) * torch.eye(self.dim, dtype=rows.dtype, device=x.device)
            self.transform.copy_(torch.linalg.solve(rows.T @ rows + ridge, rows.T @ x.double()))
