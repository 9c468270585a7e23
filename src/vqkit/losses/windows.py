"""Base of the losses over STFT windows of several lengths: the choice of windows, and the checks of windows and waveforms."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from vqkit.constants import Constant
from vqkit.types import Float

__all__ = ["WindowedDistance", "check_pair", "check_windows", "drawn_windows"]


class WindowedDistance(nn.Module):
    """A distance of two waveforms: the mean over windows of what a subclass measures through one.

    Args:
        window_samples: windows of the STFT; the hop is a quarter.
        windows_per_call: windows that a call in training looks through, drawn anew each time; None for all, as in evaluation.

    Raises:
        ValueError: windows that no hop fits, or more windows a call than there are.
    """

    _hops: ClassVar[int] = 4  # in a window

    def __init__(self, window_samples: Sequence[int], windows_per_call: int | None) -> None:
        super().__init__()
        check_windows(window_samples, windows_per_call)
        self.window_samples, self.windows_per_call = tuple(window_samples), windows_per_call
        self._windows = {window: Constant(partial(torch.hann_window, window)) for window in self.window_samples}

    def forward(
        self, estimate: Float[Tensor, "batch channels samples"], reference: Float[Tensor, "batch channels samples"]
    ) -> Tensor:
        """Distance of two waveforms, the mean over items and channels; zeros at the end of both count as silence reproduced.

        Raises:
            ValueError: different shapes, or not longer than half the longest window.
        """
        check_pair(estimate, reference, self.window_samples)
        windows = drawn_windows(self.window_samples, self.windows_per_call if self.training else None)
        with torch.autocast(device_type=estimate.device.type, enabled=False):
            pair = torch.stack([estimate.float(), reference.float()]).flatten(end_dim=2)
            return torch.stack([self._distance(pair, window) for window in windows]).mean()

    @abstractmethod
    def _distance(self, pair: Float[Tensor, "rows samples"], window: int) -> Tensor:
        """Compute the distance in the spectra of one window; the first half of the rows are estimates, the second their references."""

    def _spectrum(self, wav: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """(rows, samples) → complex (rows, bins, frames), and the energy of the window."""
        shape = self._windows[window].on(wav.device)
        spectrum = torch.stft(wav, window, window // self._hops, window=shape, pad_mode="reflect", return_complex=True)
        return spectrum, shape.square().sum()


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
    """Draw ``count`` of the windows, each equally likely, by PyTorch's global generator; return all of them without a count.

    Example:
        >>> len(drawn_windows((128, 256, 512), 2)), drawn_windows((128, 256), None)
        (2, [128, 256])
    """
    if count is None or count == len(window_samples):
        return list(window_samples)
    return [window_samples[index] for index in torch.randperm(len(window_samples))[:count].tolist()]
