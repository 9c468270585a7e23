"""The grids of a transform codec: whole numbers of steps, a few coordinates a code, bands from the most to the least important."""

from collections.abc import Sequence
from itertools import groupby

from vqkit.quantize.bands import Bands
from vqkit.quantize.base import Quantizer
from vqkit.quantize.fsq import FSQ
from vqkit.quantize.product import Product
from vqkit.quantize.residual import Residual
from vqkit.quantize.stepped import Stepped
from vqkit.quantize.system import System

__all__ = ["SteppedFSQ"]


class SteppedFSQ(System):
    """``Stepped(Bands([Residual([Product([FSQ, …]), …]), …]), steps)``: whole numbers of steps of each coordinate, at many rates.

    Every band has one or more nested grids: the last counts steps of 1, the one before it counts steps as large as the last one's range,
    and so on. So coordinates with a long range get a coarse number, which is mostly 0, and a fine one, and neither needs a large alphabet.

    Args:
        bands: for each band its grids, for each grid its codes, for each code the levels of the coordinates that it joins, odd numbers.
            All grids of a band cover the same coordinates; those before which another comes have one number of levels for all.
        steps: step sizes, from the finest to the coarsest, see `Stepped`.
        slope: error, in squared steps, that a bit is worth.

    Raises:
        ValueError: an even number of levels, grids of a band that cover different numbers of coordinates, or as in `Stepped`.

    Example:
        >>> q = SteppedFSQ([[[[5], [5, 5]], [[9, 9], [9]]], [[[3, 3, 3, 3]]]], steps=[0.25, 0.5, 1.0])
        >>> q.dim, q.code_sizes, q.codes_per_stage
        (7, (3, 5, 25, 81, 9, 81), (5, 1))

    References:
        Mentzer et al. (2023), arXiv:2309.15505; Taubman, "High performance scalable image compression with EBCOT" (2000): nested grids.
    """

    def __init__(
        self,
        bands: Sequence[Sequence[Sequence[Sequence[int]]]],
        steps: Sequence[float],
        *,
        slope: float = 0.13,
    ) -> None:
        if any(level % 2 == 0 for band in bands for grid in band for code in grid for level in code):
            raise ValueError("levels must be odd, so that 0 is one of them")
        inner = Bands([_band(grids) for grids in bands])
        super().__init__(Stepped(inner, steps, slope=slope))


def _band(grids: Sequence[Sequence[Sequence[int]]]) -> Quantizer:
    unit, made = 1, list[Quantizer]()
    for codes in reversed(grids):
        levels = [level for code in codes for level in code]
        runs = [(tuple(code), len(list(run))) for code, run in groupby(codes)]
        made.insert(0, Product([Product.shared(_grid(code, unit), count) for code, count in runs]))
        if len(made) < len(grids) and len(set(levels)) != 1:
            raise ValueError(f"a grid before which another comes needs one number of levels, got {levels}")
        unit *= levels[0]
    return made[0] if len(made) == 1 else Residual(made)


def _grid(levels: Sequence[int], unit: int) -> FSQ:
    """The multiples of ``unit`` around 0: cells of ±levels·unit/2 in all."""
    return FSQ(len(levels), list(levels), scale=[level * unit / 2 for level in levels], bound="clamp")
