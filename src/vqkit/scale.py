"""What samples and pixels mean, checked before anything is computed of them: sound in about −1 … 1, images in 0 … 1."""

import math

import torch
from torch import Tensor

__all__ = ["LOUDEST", "check_image_scale", "check_wav_scale"]

LOUDEST = 10.0
"""20 dB above full scale: masters and lossy codecs reach 2, 8-bit integers that are kept as floats 127."""

_DARKEST, _BRIGHTEST = -0.5, 1.5  # overshoot of a filter or a network stays within


def check_wav_scale(name: str, wav: Tensor) -> None:
    """Refuse NaN, infinity, and what is far outside −1 … 1.

    Raises:
        ValueError: a value is.
    """
    low, high = _extremes(name, wav)
    peak = max(-low, high)
    if peak > LOUDEST:
        raise ValueError(
            f"{name} reaches {peak:.6g}, a codec takes samples of about −1 … 1, at most ±{LOUDEST:g}: divide them by their full scale"
        )


def check_image_scale(name: str, images: Tensor) -> None:
    """Refuse NaN, infinity, and what is far outside 0 … 1.

    Raises:
        ValueError: a value is.
    """
    low, high = _extremes(name, images)
    if low < _DARKEST or high > _BRIGHTEST:
        raise ValueError(
            f"{name} reaches from {low:.6g} to {high:.6g}, a tokenizer takes 0 … 1: divide by 255, or (x + 1) / 2 of what is in −1 … 1"
        )


def _extremes(name: str, signal: Tensor) -> tuple[float, float]:
    if not signal.numel() or signal.is_meta or torch.compiler.is_compiling():  # there are no values to look at
        return 0.0, 0.0
    low, high = (float(value) for value in signal.detach().aminmax())
    if not math.isfinite(high - low):  # NaN spreads to both, infinity to one at least
        raise ValueError(f"{name} has NaN or Inf, it must be finite")
    return low, high
