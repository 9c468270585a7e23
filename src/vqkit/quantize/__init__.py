"""Quantizers: leaves, combinators, and the systems made of them.

Leaves: `VQ`, `SimVQ`, `FSQ`, `LFQ`, `LloydMax`, `RandomProjection`, `BlockTruncation`. Combinators: `Residual`, `Product`, `Bands`,
`Interpolated`, `Projected`, `Rotated`, `GainShape`, `Stepped`, `Sum`, `Multiscale`. Systems: `RVQ`, `PVQ`, `GroupedRVQ`, `ResidualFSQ`,
`ResidualLFQ`, `SteppedFSQ`, `BSQ`, `TurboQuant`, `QINCo`, `IVQ`, `LooC`.
"""

from vqkit.quantize.bands import Bands
from vqkit.quantize.base import Quantizer
from vqkit.quantize.block_truncation import BlockTruncation
from vqkit.quantize.distinct import DistinctCodes, distinct_codes
from vqkit.quantize.fsq import FSQ
from vqkit.quantize.gain_shape import GainShape
from vqkit.quantize.interpolated import Interpolated
from vqkit.quantize.ivq import IVQ
from vqkit.quantize.lfq import LFQ
from vqkit.quantize.lloyd_max import LloydMax
from vqkit.quantize.looc import LooC
from vqkit.quantize.multiscale import Multiscale
from vqkit.quantize.named import PVQ, RVQ, GroupedRVQ
from vqkit.quantize.named_scalar import BSQ, ResidualFSQ, ResidualLFQ, TurboQuant
from vqkit.quantize.product import Product
from vqkit.quantize.projected import Projected
from vqkit.quantize.qinco import QINCo
from vqkit.quantize.random_projection import RandomProjection
from vqkit.quantize.residual import Residual
from vqkit.quantize.rotated import Rotated
from vqkit.quantize.simvq import SimVQ
from vqkit.quantize.stepped import Stepped
from vqkit.quantize.stepped_fsq import SteppedFSQ
from vqkit.quantize.sum import Sum
from vqkit.quantize.system import System
from vqkit.quantize.usage import usage_advice
from vqkit.quantize.vq import VQ

__all__ = [
    "BSQ",
    "FSQ",
    "IVQ",
    "LFQ",
    "PVQ",
    "RVQ",
    "VQ",
    "Bands",
    "BlockTruncation",
    "DistinctCodes",
    "GainShape",
    "GroupedRVQ",
    "Interpolated",
    "LloydMax",
    "LooC",
    "Multiscale",
    "Product",
    "Projected",
    "QINCo",
    "Quantizer",
    "RandomProjection",
    "Residual",
    "ResidualFSQ",
    "ResidualLFQ",
    "Rotated",
    "SimVQ",
    "Stepped",
    "SteppedFSQ",
    "Sum",
    "System",
    "TurboQuant",
    "distinct_codes",
    "usage_advice",
]
