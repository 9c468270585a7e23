"""The published systems of codebooks that are plain expressions: RVQ, PVQ and grouped RVQ."""

from collections.abc import Sequence
from typing import Unpack

from vqkit.quantize.checks import positive
from vqkit.quantize.product import Product
from vqkit.quantize.residual import Residual
from vqkit.quantize.system import System
from vqkit.quantize.vq import VQ
from vqkit.quantize.vq_options import VQOptions

__all__ = ["PVQ", "RVQ", "GroupedRVQ"]


class RVQ(System):
    """Residual vector quantization: ``Residual([VQ(dim, codebook_size), …])``.

    Args:
        dim: length of the vectors.
        codebook_size: codes of each stage, one number or one for each.
        num_quantizers: stages.
        stage_dropout: share of batch elements that keep only the first stages in training, see `Residual`.
        beam: sets of codes that the search keeps from stage to stage, see `Residual`; 1 is greedy.
        shared: one codebook for all stages, as in RQ-VAE; it learns from what all of them get to see.
        options: keyword arguments of `VQ`, for every codebook.

    Example:
        >>> q = RVQ(dim=128, codebook_size=1024, num_quantizers=8)
        >>> q.bits_per_vector, q.codebook_numel
        (80.0, 1048576)

    References:
        Zeghidour et al., "SoundStream" (2021), arXiv:2107.03312; Défossez et al., "EnCodec" (2022), arXiv:2210.13438; IVQ eq. 6.
        ``shared``: Lee et al. (RQ-VAE, 2022), arXiv:2203.01941.
    """

    options_of = VQ

    def __init__(
        self,
        dim: int,
        codebook_size: int | Sequence[int],
        num_quantizers: int,
        *,
        stage_dropout: float = 0.0,
        beam: int = 1,
        shared: bool = False,
        **options: Unpack[VQOptions],
    ) -> None:
        positive("num_quantizers", num_quantizers)
        if not isinstance(codebook_size, int) and len(codebook_size) != num_quantizers:
            raise ValueError(
                f"codebook_size must be one number or {num_quantizers}, one a stage, got {list(codebook_size)!r}"
            )
        if shared and not isinstance(codebook_size, int):
            raise ValueError(f"a shared codebook has one size, got codebook_size={list(codebook_size)!r}")
        stages = [
            VQ(dim, codebook_size if isinstance(codebook_size, int) else codebook_size[stage], **options)
            for stage in range(1 if shared else num_quantizers)
        ]
        repeats = num_quantizers if shared else 1
        super().__init__(Residual(stages, stage_dropout=stage_dropout, beam=beam, repeats=repeats))


class PVQ(System):
    """Product vector quantization: ``Product([VQ(dim / num_pieces, codebook_size), …])``, or one codebook for all pieces.

    Args:
        dim: length of the vectors, a multiple of ``num_pieces``.
        codebook_size: codes of each piece.
        num_pieces: pieces.
        shared: one codebook for all pieces.
        options: keyword arguments of `VQ`, for every codebook.

    Raises:
        ValueError: ``dim`` is not a multiple of ``num_pieces``.

    Example:
        >>> q = PVQ(dim=128, codebook_size=64, num_pieces=4)
        >>> q.bits_per_vector, q.codebook_numel
        (24.0, 8192)

    References:
        Jégou et al., "Product quantization for nearest neighbor search" (2010); IVQ eq. 7.
    """

    options_of = VQ

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_pieces: int,
        *,
        shared: bool = False,
        **options: Unpack[VQOptions],
    ) -> None:
        run = divided(dim, positive("num_pieces", num_pieces), "num_pieces")
        pieces = [VQ(run, codebook_size, **options) for _ in range(1 if shared else num_pieces)]
        super().__init__(Product(pieces, repeats=num_pieces if shared else 1))


class GroupedRVQ(System):
    """Grouped residual VQ: ``Product([RVQ(dim / num_groups, …), …])``; codes are stage-major, so first stages decode alone.

    Args:
        dim: length of the vectors, a multiple of ``num_groups``.
        codebook_size: codes of each stage of each group.
        num_quantizers: stages.
        num_groups: groups.
        options: keyword arguments of `VQ`, for every codebook.

    Raises:
        ValueError: ``dim`` is not a multiple of ``num_groups``.

    Example:
        >>> GroupedRVQ(dim=128, codebook_size=1024, num_quantizers=4, num_groups=2).codes_per_stage
        (2, 2, 2, 2)

    References:
        Yang et al., "HiFi-Codec" (2023), arXiv:2305.02765.
    """

    options_of = VQ

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_quantizers: int,
        num_groups: int,
        **options: Unpack[VQOptions],
    ) -> None:
        run = divided(dim, positive("num_groups", num_groups), "num_groups")
        groups = [RVQ(run, codebook_size, num_quantizers, **options) for _ in range(num_groups)]
        super().__init__(Product(groups))


def divided(dim: int, parts: int, name: str) -> int:
    """``dim / parts``, if that is a whole number."""
    if positive("dim", dim) % parts:
        raise ValueError(f"dim must be a multiple of {name} = {parts}, got {dim}")
    return dim // parts
