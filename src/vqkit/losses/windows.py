"""The windows that a multi-resolution loss looks through, and the waveforms it can look at."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["check_pair", "check_windows", "drawn_windows"]


def check_windows(window_samples: Sequence[int], windows_per_call: int | None) -> None:
    """Refuse windows that no hop of a quarter fits, and more windows a call than there are.

    Raises:
        ValueError: such windows, or such a number.
    """
    if not window_samples or any(window < 8 or window % 4 for window in window_samples):
        raise ValueError(f"window_samples must be multiples of 4, at least 8, got {tuple(window_samples)}")
    if windows_per_call is not None and not 1 <= windows_per_call <= len(window_samples):
        raise ValueError(f"windows_per_call must be in 1 … {len(window_samples)}, got {windows_per_call}")


def check_pair(estimate: Tensor, reference: Tensor, window_samples: Sequence[int]) -> None:
    """Refuse waveforms that cannot be compared.

    Raises:
        ValueError: not two (batch, channels, samples) of one shape, or not longer than half the longest window.
    """
    if estimate.shape != reference.shape or estimate.ndim != 3:
        raise ValueError(
            f"estimate and reference must be (batch, channels, samples), got {tuple(estimate.shape)} and {tuple(reference.shape)}"
        )
    if estimate.shape[-1] <= max(window_samples) // 2:
        raise ValueError(f"waveforms must be longer than {max(window_samples) // 2} samples, got {estimate.shape[-1]}")


def drawn_windows(window_samples: Sequence[int], count: int | None) -> list[int]:
    """So many of the windows, each equally likely, by PyTorch's global generator; all of them without a count.

    Example:
        >>> len(drawn_windows((128, 256, 512), 2)), drawn_windows((128, 256), None)
        (2, [128, 256])
    """
    if count is None or count == len(window_samples):
        return list(window_samples)
    return [window_samples[index] for index in torch.randperm(len(window_samples))[:count].tolist()]
