"""The words every layer speaks: shapes as types, the result of a quantizer, and the check for optional packages.

Conventions
    A latent is ``(batch, *spatial, dim)``, channels last. A mask is ``(batch, *spatial)`` of bool, True where the position is real.
    Codes are ``(batch, *spatial, num_codes)`` of int64; −1 stands at masked positions and at dropped stages.
    Waveforms are ``(batch, channels, samples)``, float32 in about [−1, 1]; sample rates are in Hz, bitrates in kbit/s.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float, Int
    from torch import Tensor
elif "jaxtyping" in sys.modules:  # somebody checks shapes, as tests/test_shapes.py does
    from jaxtyping import Bool, Complex, Float, Int
else:  # shapes are documentation; the core needs only torch and numpy, and importing jaxtyping takes 0.2 s

    class _Shape:
        def __class_getitem__(cls, item: Any) -> Any:
            return item[0]

    Bool = Complex = Float = Int = _Shape

__all__ = ["Bool", "Complex", "Float", "Int", "Quantized", "check_installed", "need"]


@dataclass(frozen=True)
class Quantized:
    """Result of a quantizer: quantized latent, codes and losses.

    Attributes:
        z_q: the quantized latent, ``(batch, *spatial, dim)``, in the dtype of the input; its gradient is the straight-through estimate.
        codes: ``(batch, *spatial, num_codes)`` int64; −1 at masked positions and dropped stages.
        loss: scalar, the sum of ``losses``; add it to the task's loss.
        losses: the named terms, each already multiplied by its weight.
    """

    z_q: Tensor
    codes: Tensor
    loss: Tensor
    losses: dict[str, Tensor]

    def __repr__(self) -> str:
        """Shapes and losses, not all the numbers."""
        terms = ", ".join(f"{name}={float(value.detach()):.4g}" for name, value in self.losses.items())
        return f"Quantized(z_q={_shape(self.z_q)}, codes={_shape(self.codes)}, loss={float(self.loss.detach()):.4g}, losses=({terms}))"


def _shape(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{tuple(value.shape)}"


def need(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Args:
        module: dotted name of the module.
        extra: the extra of vqkit that installs it.

    Returns:
        The imported module.

    Raises:
        ImportError: the package is not installed; the message names the extra.

    Example:
        >>> need("math", "audio").floor(1.5)
        1
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != package:
            raise
        raise ImportError(_missing(package, extra)) from None


def check_installed(package: str, extra: str) -> None:
    """Find an optional package without importing it, which may take seconds.

    Args:
        package: name of the top-level module.
        extra: the extra of vqkit that installs it.

    Raises:
        ImportError: the package is not installed; the message names the extra.
    """
    if importlib.util.find_spec(package) is None:
        raise ImportError(_missing(package, extra))


def _missing(package: str, extra: str) -> str:
    return f"{package} is not installed: pip install 'vqkit[{extra}]'"
