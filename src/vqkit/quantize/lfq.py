"""Lookup-free quantization: the signs of a few dimensions."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.constants import Constant
from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import positive
from vqkit.quantize.grid_search import GridSearch
from vqkit.quantize.grid_table import GridTable
from vqkit.quantize.losses import masked_mean, means_over_ranks
from vqkit.quantize.projection import Projection
from vqkit.quantize.straight_through import straight_through, straight_through_within
from vqkit.ranks import num_ranks

__all__ = ["LFQ"]

_REACH = 2.0  # in scales: a projected value beyond gets no gradient through its sign, or stages of a residual drive each other away


class LFQ(Quantizer):
    """Keep the sign of each of ``bits`` dimensions; an entropy loss asks for sure signs and for even use of all codes.

    Loss: entropy_weight·(E[H(p)] − diversity·H(E[p])), p the softmax over codes of −temperature-scaled squared distances, and a
    commitment term. p is a product over bits, so E[H(p)] is a sum over bits and E[p] over 2^b codes is one product of two
    2^(b/2)-wide matrices: no (N, 2^b) tensor. Above 16 bits the entropy of E[p] is taken per factor of at most 16 bits. In training E[p]
    is over the joint batch of all ranks.

    With projections, the gradient passes through the sign only where the projected value is within twice the scale.

    Args:
        dim: length of the vectors; linear projections lead in and out when it is not ``bits``.
        bits: signs kept; the one code has 2^bits values, the first sign most significant.
        scale: size of the values given out: ±scale.
        entropy_weight: weight of the entropy loss; 0 switches it off.
        diversity: γ, weight of the batch entropy within it.
        temperature: temperature of the softmax.
        commitment_weight: weight of ‖y − sg(sign y)‖² in the projected space.
        sphere: put the projected vector on the unit sphere first, as `BSQ` does.
        factor_bits: the entropy of E[p] is exact over so many bits at once, and summed over such factors: 1 takes bits as independent.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> q = LFQ(dim=64, bits=12)
        >>> q.code_sizes, sorted(q(torch.randn(2, 9, 64)).losses)
        ((4096,), ['commitment', 'entropy'])

    References:
        Yu et al., "Language model beats diffusion: tokenizer is key to visual generation" (2023), arXiv:2310.05737, eqs 3–5;
        Hubara et al., "Binarized neural networks" (2016), arXiv:1602.02830, section 1.3 (the bound of the gradient).
    """

    def __init__(
        self,
        dim: int,
        bits: int,
        *,
        scale: float = 1.0,
        entropy_weight: float = 0.1,
        diversity: float = 1.0,
        temperature: float = 1.0,
        commitment_weight: float = 0.25,
        sphere: bool = False,
        factor_bits: int = 16,
    ) -> None:
        super().__init__()
        if positive("factor_bits", factor_bits) > 16:
            raise ValueError(f"factor_bits must be at most 16, got {factor_bits}")
        self.sphere, self.factor_bits = sphere, factor_bits
        self.dim, self.bits = positive("dim", dim), positive("bits", bits)
        if bits > 62:
            raise ValueError(f"bits must be at most 62, so that a code fits in int64, got {bits}")
        if scale <= 0 or temperature <= 0:
            raise ValueError(f"scale and temperature must be positive, got {scale!r} and {temperature!r}")
        self.scale, self.temperature = float(scale), float(temperature)
        self.entropy_weight, self.diversity = entropy_weight, diversity
        self.commitment_weight = commitment_weight
        self.projection = Projection(dim, bits)
        self._table = GridTable(1 << bits, self.projection)
        self.straight_through = self.projection.inward is None and not sphere
        places = [1 << bit for bit in range(bits - 1, -1, -1)]
        self._search = GridSearch(partial(_signs, bits), [2] * bits, places)
        self._high = Constant(partial(torch.tensor, self.scale))
        self._place_values = Constant(partial(torch.tensor, places))

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """One code of 2^bits values."""
        return (1 << self.bits,)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """One code."""
        return (1,)

    @property
    def codebook_numel(self) -> int:
        """None: the codes are the corners of a cube."""
        return 0

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the projections; float32 without them."""
        return self.projection.dtype

    def _inward(self, x: Tensor) -> Tensor:
        y = self.projection.into(x)
        return F.normalize(y, dim=-1) if self.sphere else y

    def _signs(self, y: Tensor) -> Tensor:
        high = self._high.on(y.device)
        return torch.where(y > 0, high, -high)

    def _signs_of(self, codes: Tensor) -> Tensor:
        """The inverse of `_index`, of (…, 1) codes."""
        bits = codes // self._place_values.on(codes.device) % 2
        high = self._high.on(codes.device)
        return torch.where(bits == 1, high, -high)

    def _index(self, y: Tensor) -> Tensor:
        whole = torch.float32 if self.bits <= 24 else torch.long  # float32 counts exactly so far
        positive = y.detach().clone().gt_(0)  # in place: a comparison into bool and a cast take six times as long
        return (positive.to(whole) * self._place_values.on(y.device, whole)).sum(dim=-1).long()

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        y = self._inward(x)
        signs, codes = self._signs(y), self._search.codes(x, self.projection, self.training)
        if codes is None:
            codes = self._index(y)
        elif torch.is_grad_enabled():  # what comes out must be what `decode` makes of the codes
            signs = self._signs_of(codes[..., None])
        if self.training or torch.is_grad_enabled():
            bounded = self.straight_through or self.sphere  # nothing is projected away, or nothing can be far
            passed = straight_through(y, signs) if bounded else straight_through_within(y, signs, _REACH * self.scale)
            z_q = self.projection.out_of(passed)
            with torch.no_grad():
                known = self._table.decoded(codes[..., None], self.projection, self.training, self._decode_plain)
            z_q = z_q if known is None else straight_through(z_q, known)
        else:
            z_q = self._decode(codes[..., None], 1)
        losses = {}
        if self.commitment_weight:
            losses["commitment"] = self.commitment_weight * masked_mean((y - signs.detach()).square(), mask)
        if self.entropy_weight:
            weight = (y.new_ones(y.shape[:-1]) if mask is None else mask.to(y.dtype)).flatten()
            losses["entropy"] = self.entropy_weight * self._entropy(y.reshape(-1, self.bits), weight)
        if mask is not None:
            z_q, codes = torch.where(mask[..., None], z_q, 0.0), torch.where(mask, codes, -1)
        return z_q, codes[..., None], losses

    def _entropy(self, y: Tensor, weight: Tensor) -> Tensor:
        """E[H(p)] − γ·H(E[p]) in nats; ``weight`` is 1 for real vectors."""
        logits = 4 * self.scale * y / self.temperature  # −(y − s)² + (y + s)² = 4·s·y
        count = weight.sum()
        share = weight / count.clamp_min(1)
        on, off = logits.sigmoid(), (-logits).sigmoid()
        bit_entropy = -(on * F.logsigmoid(logits) + off * F.logsigmoid(-logits)).sum(dim=-1)
        joints = []
        for first in range(0, self.bits, self.factor_bits):
            factor = torch.stack([off, on], dim=-1)[:, first : first + self.factor_bits]
            middle = factor.shape[1] // 2
            left, right = _corner_products(factor[:, :middle]), _corner_products(factor[:, middle:])
            joints.append((left * share[:, None]).T @ right)
        if self.training and num_ranks() > 1:
            joints = means_over_ranks(joints, count)
        batch_entropy = -torch.stack([(joint * joint.clamp_min(1e-12).log()).sum() for joint in joints]).sum()
        return (bit_entropy * share).sum() - self.diversity * batch_entropy

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        codes = self._search.codes(x, self.projection, self.training)
        if codes is None:
            codes = self._index(self._inward(x))
        return (codes if mask is None else torch.where(mask, codes, -1))[..., None]

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        found = self._table.decoded(codes, self.projection, self.training, self._decode_plain)
        return self._decode_plain(codes) if found is None else found

    def _decode_plain(self, codes: Tensor) -> Tensor:
        """The plain twin: the signs of a code, projected."""
        return torch.where(codes < 0, 0.0, self.projection.out_of(self._signs_of(codes.clamp_min(0))))

    def _fit(self, x: Tensor, iterations: int) -> None:
        self.projection.fit_inward(x, self.scale)
        self.projection.fit_outward(self._signs(self._inward(x)), x)


def _signs(bits: int) -> list[Tensor]:
    """Thresholds of each dimension: 0."""
    return [torch.zeros(1, dtype=torch.float64)] * bits


def _corner_products(factor: Tensor) -> Tensor:
    """(N, b, 2) probabilities of independent bits → (N, 2^b) of their corners."""
    corners = factor.new_ones(factor.shape[0], 1)
    for bit in factor.unbind(dim=1):
        corners = (corners[:, :, None] * bit[:, None, :]).flatten(start_dim=1)
    return corners
