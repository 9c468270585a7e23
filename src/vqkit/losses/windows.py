"""Base of the losses over STFT windows of several lengths: the choice of windows, and the checks of windows and waveforms."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from vqkit.constants import Constant
from vqkit.types import Complex, Float

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
            seen = (self._features(self._spectrum(pair, window), window) for window in windows)
            return torch.stack([self._distance(*pairs.chunk(2)) for pairs in seen]).mean()

    def spectra(self, wav: Float[Tensor, "batch channels samples"]) -> list[Complex[Tensor, "rows bins frames"]]:
        """Spectra of a waveform through each window, for `features`; distances of the same windows have the same."""
        with torch.autocast(device_type=wav.device.type, enabled=False):
            rows = wav.float().flatten(end_dim=1)
            return [self._spectrum(rows, window) for window in self.window_samples]

    def features(self, spectra: Sequence[Complex[Tensor, "rows bins frames"]]) -> list[Tensor]:
        """What the distance compares of a waveform, for `between`: a reference that meets many estimates needs it only once."""
        with torch.autocast(device_type=spectra[0].device.type, enabled=False):
            return [self._features(one, window) for one, window in zip(spectra, self.window_samples, strict=True)]

    def between(self, estimate: Sequence[Tensor], reference: Sequence[Tensor]) -> Tensor:
        """The distance of two waveforms of one shape by their `features`, through all windows."""
        return torch.stack([self._distance(*pair) for pair in zip(estimate, reference, strict=True)]).mean()

    @abstractmethod
    def _features(self, spectra: Complex[Tensor, "rows bins frames"], window: int) -> Tensor:
        """What is compared of the spectra of one window."""

    @abstractmethod
    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """The mean distance of the features of estimates and their references."""

    def _spectrum(self, wav: Float[Tensor, "rows samples"], window: int) -> Complex[Tensor, "rows bins frames"]:
        shape, hop = self._windows[window].on(wav.device), window // self._hops
        return torch.stft(wav, window, hop, window=shape, pad_mode="reflect", return_complex=True)

    def _energy(self, window: int, device: torch.device) -> Tensor:
        """The sum of a window's squares: power of a bin over it is that of noise."""
        return self._windows[window].on(device).square().sum()


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
