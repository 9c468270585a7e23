"""vqkit: vector quantization of audio, images and video.

Importing this package needs only torch and numpy; models, data, metrics and tools are in subpackages and extras. The quantizers are
imported when the first of them is asked for, so that the command line starts without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqkit.diagnosis import doctor
    from vqkit.quantize import (
        BSQ,
        FSQ,
        IVQ,
        LFQ,
        PVQ,
        RVQ,
        VQ,
        Bands,
        BlockTruncation,
        GainShape,
        GroupedRVQ,
        Interpolated,
        LloydMax,
        LooC,
        Multiscale,
        Product,
        Projected,
        QINCo,
        Quantizer,
        RandomProjection,
        Residual,
        ResidualFSQ,
        ResidualLFQ,
        Rotated,
        SimVQ,
        Stepped,
        SteppedFSQ,
        Sum,
        System,
        TurboQuant,
        usage_advice,
    )
    from vqkit.types import Quantized

__version__ = "0.1.0.dev0"

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
    "GainShape",
    "GroupedRVQ",
    "Interpolated",
    "LloydMax",
    "LooC",
    "Multiscale",
    "Product",
    "Projected",
    "QINCo",
    "Quantized",
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
    "doctor",
    "usage_advice",
]

_HOMES = {"Quantized": "vqkit.types", "doctor": "vqkit.diagnosis"}  # the others are quantizers


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "vqkit.quantize")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
