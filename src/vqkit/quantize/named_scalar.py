"""The published systems of scalar quantizers: residual FSQ, residual LFQ, binary spherical quantization and TurboQuant."""

from collections.abc import Sequence
from typing import ClassVar

from vqkit.counts import check_numbers
from vqkit.quantize.checks import one_of, positive
from vqkit.quantize.fsq import FSQ
from vqkit.quantize.gain_shape import GainShape
from vqkit.quantize.lfq import LFQ
from vqkit.quantize.lloyd_max import LloydMax
from vqkit.quantize.projected import Projected
from vqkit.quantize.residual import Residual
from vqkit.quantize.rotated import Rotated
from vqkit.quantize.system import System

__all__ = ["BSQ", "ResidualFSQ", "ResidualLFQ", "TurboQuant"]


class ResidualFSQ(System):
    """Residual FSQ: every stage rounds what the stages before it left, on a grid as many times finer as they had levels.

    Where ``dim`` is the number of levels, ``Projected(dim, Residual([FSQ(dim, levels, bound="clamp", scale=L^−i), …]), bound="tanh")``:
    behind one tanh, i stages of L levels are one even grid of L^i levels. Otherwise every stage has projections of its own, and only the
    first bends its input: ``Residual([FSQ(dim, levels), FSQ(dim, levels, bound="clamp", scale=L^−1), …])``. Where every stage bends
    (``grids="each"``, on grids (L − 1)^i times finer), later stages give values that the next ones cannot reach.

    Args:
        dim: length of the vectors.
        levels: levels of each rounded dimension, see `FSQ`.
        num_quantizers: stages.
        stage_dropout: share of batch elements that keep only the first stages in training, see `Residual`.
        grids: ``"nested"``, or ``"each"`` for the earlier form, which models saved without this argument have.

    Example:
        >>> round(ResidualFSQ(dim=64, levels=[7, 5, 5, 5, 5], num_quantizers=4).bits_per_vector, 1)
        48.4

    References:
        Mentzer et al. (2023), arXiv:2309.15505; Zhu et al., "Robust residual finite scalar quantization for neural compression" (2025),
        arXiv:2508.15860 (what goes wrong with equal stages).
    """

    _before: ClassVar = {"grids": "each"}

    def __init__(
        self,
        dim: int,
        levels: Sequence[int],
        num_quantizers: int,
        *,
        stage_dropout: float = 0.0,
        grids: str = "nested",
    ) -> None:
        positive("num_quantizers", num_quantizers)
        one_of("grids", grids, ("nested", "each"))
        step = [max(n - 1, 1) if grids == "each" else n for n in levels]
        scales = [[float(n) ** -stage for n in step] for stage in range(num_quantizers)]
        bare = len(levels) == dim and grids == "nested"
        bounds = ["clamp" if bare or (stage and grids == "nested") else "tanh" for stage in range(num_quantizers)]
        stages = [FSQ(dim, levels, scale=scale, bound=bound) for scale, bound in zip(scales, bounds, strict=True)]
        residual = Residual(stages, stage_dropout=stage_dropout)
        super().__init__(Projected(dim, residual, bound="tanh") if bare else residual)


class ResidualLFQ(System):
    """Residual LFQ: ``Residual([LFQ(dim, bits, scale=2^−i), …])``.

    Args:
        dim: length of the vectors.
        bits: number of sign bits, see `LFQ`.
        num_quantizers: stages.
        stage_dropout: share of the training batches that keep only some stages, see `Residual`.
        entropy_weight: weight of the entropy loss, see `LFQ`.
        commitment_weight: weight of the commitment loss, see `LFQ`.

    Example:
        >>> ResidualLFQ(dim=64, bits=6, num_quantizers=4).bits_per_vector
        24.0

    References:
        Yu et al. (2023), arXiv:2310.05737.
    """

    def __init__(
        self,
        dim: int,
        bits: int,
        num_quantizers: int,
        *,
        stage_dropout: float = 0.0,
        entropy_weight: float = 0.1,
        commitment_weight: float = 0.25,
    ) -> None:
        stages = [
            LFQ(dim, bits, scale=2.0**-i, entropy_weight=entropy_weight, commitment_weight=commitment_weight)
            for i in range(positive("num_quantizers", num_quantizers))
        ]
        super().__init__(Residual(stages, stage_dropout=stage_dropout))


class BSQ(System):
    """Binary spherical quantization: LFQ on the unit sphere, with values ±1/√bits and an entropy loss over single bits.

    Args:
        dim: length of the vectors; linear projections lead in and out when it is not ``bits``.
        bits: signs kept.
        entropy_weight: weight of the entropy loss; 0 switches it off.
        diversity: γ, weight of the batch entropy within it.
        temperature: temperature of the softmax over codes.
        commitment_weight: weight of the commitment term.

    Example:
        >>> import torch
        >>> q = BSQ(dim=64, bits=18)
        >>> q(torch.randn(2, 9, 64)).codes.shape, q.bits_per_vector
        (torch.Size([2, 9, 1]), 18.0)

    References:
        Zhao et al., "Image and video tokenization with binary spherical quantization" (2024), arXiv:2406.07548, section 3.
    """

    def __init__(
        self,
        dim: int,
        bits: int,
        *,
        entropy_weight: float = 0.1,
        diversity: float = 1.0,
        temperature: float = 0.04,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__(
            LFQ(
                dim,
                bits,
                scale=positive("bits", bits) ** -0.5,
                entropy_weight=entropy_weight,
                diversity=diversity,
                temperature=temperature,
                commitment_weight=commitment_weight,
                sphere=True,
                factor_bits=1,
            )
        )


class TurboQuant(System):
    """Quantization that looks at no data: the length, and the coordinates of the randomly turned direction by `LloydMax`.

    ``GainShape(FSQ(1, [2^gain_bits]), Rotated(LloydMax(dim, bits, scale=dim^−½), seed=seed, learn_rotation=False))``. After a random
    rotation every coordinate of a unit vector is nearly N(0, 1/dim), whatever the data; for embeddings and caches.

    Args:
        dim: length of the vectors.
        bits: bits a coordinate, at most 8.
        gain_bits: bits of the length, on a logarithmic grid from e^−16 to e^16.
        seed: seed of the rotation.

    Example:
        >>> import torch
        >>> q = TurboQuant(dim=64, bits=4).eval()
        >>> z = torch.randn(1, 100, 64) * torch.linspace(0, 9, 64)
        >>> bool((q(z).z_q - z).square().mean() < 0.012 * z.square().mean())
        True

    References:
        Zandieh et al., "TurboQuant: online vector quantization with near-optimal distortion rate" (2025), arXiv:2504.19874, section 3.1.
    """

    def __init__(self, dim: int, bits: int, *, gain_bits: int = 16, seed: int = 0) -> None:
        check_numbers(gain_bits=gain_bits)
        if not 1 <= gain_bits <= 16:
            raise ValueError(f"gain_bits must be in 1 … 16, got {gain_bits!r}")
        turned = Rotated(LloydMax(dim, bits, scale=dim**-0.5), seed=seed, learn_rotation=False)
        gain = FSQ(1, [1 << gain_bits], bound="clamp", scale=16.0)
        super().__init__(GainShape(gain, turned, commitment_weight=0.0))
