"""vqkit: vector quantization of audio, images and video.

Importing this package needs only torch and numpy; models, data, metrics and tools are in subpackages and extras.
"""

from vqkit.quantize import (
    FSQ,
    IVQ,
    LFQ,
    PVQ,
    RVQ,
    VQ,
    GroupedRVQ,
    Interpolated,
    LooC,
    Product,
    Quantizer,
    Residual,
    ResidualFSQ,
    ResidualLFQ,
)
from vqkit.types import Quantized

__version__ = "0.1.0.dev0"

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
    "Quantized",
    "Quantizer",
    "Residual",
    "ResidualFSQ",
    "ResidualLFQ",
]
