"""Optional compiled searches and sums of small codebooks, for the CPU: several times faster than PyTorch's operators, with the same codes.

Nothing is compiled unless it is asked for, by `load`, by ``python -m vqkit.quantize.native``, or by VQKIT_NATIVE=1 in the environment of a
program. That takes a C++ compiler (GCC or Clang), ninja (``pip install ninja``) and some seconds, once on a machine:
torch.utils.cpp_extension keeps the library in its folder (TORCH_EXTENSIONS_DIR). The plain paths stay, take over wherever a call does not
fit, and are what these are tested against. What is computed is said in search.py, signs.py and tables.py.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit.types import Float, Int

__all__ = ["SMALL", "NativeSearch", "available", "decoded", "load", "loaded", "nearest", "off", "signs"]

SMALL = 1 << 16
"""Floats of a table up to which the compiled search is faster for many vectors than a matrix product; for a few it always is."""

MOST_STAGES = 8  # of signs

_FEW = 6  # vectors that are searched without a block
_SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = {"AVX2": ["-mavx2", "-mfma"], "AVX512": ["-mavx2", "-mfma", "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw"]}
_library: Any = None
_tried = False


def load() -> None:
    """Compile the library, unless that was done before, and use it from now on in this process.

    Raises:
        RuntimeError: no compiler or ninja, or it does not compile.
    """
    global _library
    if _library is not None:
        return
    from torch.utils import cpp_extension

    capability = torch.backends.cpu.get_cpu_capability()  # a home may be shared by machines of several kinds
    name = f"vqkit_native_{platform.machine()}_{capability}".replace(" ", "_").lower()
    try:
        path = cpp_extension.load(
            name=name,
            sources=[str(_SOURCE)],
            extra_cflags=["-O3", "-std=c++17", "-pthread", *_FLAGS.get(capability, [])],
            is_python_module=False,
        )
    except (RuntimeError, OSError, ImportError) as error:
        raise RuntimeError(
            f"the compiled searches need a C++ compiler (GCC or Clang) and ninja (pip install ninja): {error}"
        ) from error
    _library = _declared(ctypes.CDLL(path or _built(cpp_extension, name)))
