"""Linear maps into and out of the few dimensions in which FSQ and LFQ round, and their offline fit."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.quantize.search import takes_fast_paths
from vqkit.types import Float

__all__ = ["Projection"]

_FEW = 16  # rounded dimensions up to which they lie one after the other


class Projection(nn.Module):
    """dim → inner → dim; nothing at all when both are equal, unless maps are wanted always.

    Args:
        dim: length of the vectors.
        inner: dimensions that are rounded.
        always: make maps although both are equal.
    """

    def __init__(self, dim: int, inner: int, *, always: bool = False) -> None:
        super().__init__()
        self._frozen = False
        self.inward = nn.Linear(dim, inner) if always or dim != inner else None
        self.outward = nn.Linear(inner, dim) if always or dim != inner else None

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights; float32 when there are none."""
        return torch.float32 if self.outward is None else self.outward.weight.dtype

    def into(self, x: Float[Tensor, "*shape dim"]) -> Float[Tensor, "*shape inner"]:
        """Float32 projection to the rounded dimensions."""
        return x if self.inward is None else self._linear(x, self.inward)

    def out_of(self, y: Float[Tensor, "*shape inner"]) -> Float[Tensor, "*shape dim"]:
        """Float32 projection back."""
        return y if self.outward is None else self._linear(y, self.outward)

    def _linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        weight, bias = layer.weight.float(), layer.bias.float()
        if self._frozen:
            weight, bias = weight.detach(), bias.detach()
        if len(weight) <= _FEW and takes_fast_paths(x):
            # dimension after dimension: the product is faster so, and so is what follows, in which every dimension has constants of its own
            columns = torch.addmm(bias[:, None], weight, x.reshape(-1, x.shape[-1]).T)
            return columns.T.view(*x.shape[:-1], len(weight))
        return F.linear(x, weight, bias)

    @torch.no_grad()
    def fit_inward(
        self,
        x: Float[Tensor, "vectors dim"],
        deviation: float | None,
        *,
        directions_of: Float[Tensor, "vectors dim"] | None = None,
    ) -> None:
        """Principal components, each scaled to this standard deviation; None leaves each its own.

        Args:
            x: the vectors.
            deviation: standard deviation of each component, or None.
            directions_of: take the directions from these vectors, such as what another quantizer left; from x by default.
        """
        if self.inward is None:
            return
        inner = self.inward.out_features
        mean = x.mean(dim=0)
        seen = x if directions_of is None else directions_of
        values, vectors = torch.linalg.eigh(
            torch.cov((seen - seen.mean(dim=0)).T.double(), correction=0).reshape(x.shape[1], -1)
        )
        values, vectors = values.flip(0), vectors.flip(1)
        # more rounded dimensions than vector dimensions: the components come again, from the first
        pick = torch.arange(inner, device=x.device) % x.shape[1]
        gain = torch.ones_like(values[pick])
        if deviation is not None:
            gain = deviation / values[pick].clamp_min(1e-12).sqrt()
        weight = (vectors[:, pick] * gain).T.float()
        self.inward.weight.copy_(weight)
        self.inward.bias.copy_(-weight @ mean)

    @torch.no_grad()
    def fit_outward(self, y: Float[Tensor, "vectors inner"], x: Float[Tensor, "vectors dim"]) -> None:
        """Least squares from the rounded values to the vectors."""
        if self.outward is None:
            return
        design = torch.cat([y, torch.ones_like(y[:, :1])], dim=1).double()
        gram = design.T @ design
        ridge = 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        solution = torch.linalg.solve(gram + ridge, design.T @ x.double()).float()
        self.set_outward(solution[:-1], solution[-1])

    @torch.no_grad()
    def set_outward(self, matrix: Float[Tensor, "inner dim"], bias: Float[Tensor, " dim"]) -> None:
        """Make the map out ``y @ matrix + bias``."""
        if self.outward is not None:
            self.outward.weight.copy_(matrix.T)
            self.outward.bias.copy_(bias)
