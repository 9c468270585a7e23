"""Quantizers: leaves (`VQ`, `FSQ`, `LFQ`), combinators (`Residual`, `Product`, `Interpolated`) and the systems made of them."""

from vqkit.quantize.base import Quantizer
from vqkit.quantize.fsq import FSQ
from vqkit.quantize.interpolated import Interpolated
from vqkit.quantize.ivq import IVQ
from vqkit.quantize.lfq import LFQ
from vqkit.quantize.looc import LooC
from vqkit.quantize.named import PVQ, RVQ, GroupedRVQ, ResidualFSQ, ResidualLFQ
from vqkit.quantize.product import Product
from vqkit.quantize.residual import Residual
from vqkit.quantize.system import System
from vqkit.quantize.usage import usage_advice
from vqkit.quantize.vq import VQ

__all__ = [
    "FSQ",
    "IVQ",
    "LFQ",
    "PVQ",
    "RVQ",
    "VQ",
    "GroupedRVQ",
    "Interpolated",
    "LooC",
    "Product",
    "Quantizer",
    "Residual",
    "ResidualFSQ",
    "ResidualLFQ",
    "System",
    "usage_advice",
]
