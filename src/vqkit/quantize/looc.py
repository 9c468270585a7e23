"""LooC: one low-dimensional codebook shared by all segments, on an interpolated grid."""

from typing import Any, Self, Unpack

from vqkit.quantize.checks import one_of, positive
from vqkit.quantize.interpolated import Interpolated
from vqkit.quantize.named import divided
from vqkit.quantize.product import Product
from vqkit.quantize.system import System
from vqkit.quantize.vq import VQ
from vqkit.quantize.vq_options import VQOptions

__all__ = ["LooC"]


class LooC(System):
    """``Interpolated(Product.shared(VQ(code_dim, codebook_size), dim / code_dim), scale)``.

    The codebook is tiny, the rate is not: dim/code_dim·scale^n codes a position. Compare at equal ``bits_per_vector``.

    Args:
        dim: length of the vectors, a multiple of ``code_dim``.
        codebook_size: codes K of the one codebook.
        code_dim: their length d; m = dim/d segments.
        scale: upsampling s of the interpolation; 1 switches it off.
        spatial_dims: n = 1, 2 or 3: sequences, maps or volumes; matters only when scale > 1.
        grouping: ``"channels"`` (the paper's text) or ``"folded"`` (the published code), see `Interpolated`.
        options: keyword arguments of `VQ`; the published runs have ``distance="cosine"`` (refused at code_dim = 1).

    Raises:
        ValueError: ``dim`` is not a multiple of ``code_dim``, or another argument out of range.

    Example:
        >>> q = LooC(dim=128, codebook_size=256, code_dim=4, scale=2)
        >>> q.codebook_numel, q.bits_per_vector
        (1024, 1024.0)

    References:
        LooC, section 3; Zheng & Vedaldi (2023), arXiv:2307.15139 (CVQ).
    """

    options_of = VQ

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        code_dim: int,
        *,
        scale: int = 1,
        spatial_dims: int = 2,
        grouping: str = "channels",
        **options: Unpack[VQOptions],
    ) -> None:
        segments = divided(dim, positive("code_dim", code_dim), "code_dim")
        folded = one_of("grouping", grouping, ("channels", "folded")) == "folded"
        leaf = VQ(code_dim, codebook_size, **options)
        if positive("scale", scale) == 1:
            super().__init__(Product.shared(leaf, segments))
            return
        product = Product.shared(leaf, segments * (scale**spatial_dims if folded else 1))
        super().__init__(Interpolated(product, scale=scale, spatial_dims=spatial_dims, grouping=grouping))

    @classmethod
    def paper(cls, dim: int, codebook_size: int, code_dim: int, **options: Any) -> Self:
        """LooC as published: codes start near 0, learn by gradient, and are revived by CVQ; its text searches by distance.

        Args:
            dim: length of the vectors, a multiple of ``code_dim``.
            codebook_size: codes of the one codebook.
            code_dim: their length.
            options: further arguments of the constructor; ``distance="cosine"`` is what the published code does.
        """
        published = {"update": "gradient", "init": "uniform", "revive": "cvq", "decay": 0.99}
        return cls(dim, codebook_size, code_dim, **{**published, **options})
