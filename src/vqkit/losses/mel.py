"""Distance of mel spectrograms at several time resolutions."""

import warnings
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from vqkit.constants import Constant
from vqkit.losses.windows import WindowedDistance
from vqkit.types import need

__all__ = ["MultiScaleMel"]


class MultiScaleMel(WindowedDistance):
    """Mean over windows of  mean |M(x) − M(x̂)|  +  log_weight · mean_t √ mean_f (log10 M(x) − log10 M(x̂))².

    M is a mel spectrogram of √(|STFT|² + floor²), scaled so that noise of variance one has about one; the L1 term hears loud parts, the
    L2 term of logarithms quiet ones. With the floor under the root the gradient fades where there is next to nothing; added outside it,
    the gradient of near-silent bins would be large and point where the rounding errors do.

    Args:
        sample_rate: sample rate of the waveforms, in Hz.
        window_samples: windows of the STFT; the hop is a quarter.
        num_mels: most mel filters of a window; short ones get as many as have a frequency bin each.
        log_weight: weight of the logarithmic term.
        floor: magnitude of what counts as silence; 1e-4 is 80 dB below noise of variance one.
        windows_per_call: number of windows to use in training mode, drawn anew at each call: the same on average, for less time. None uses
            all.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> distance = MultiScaleMel(sample_rate=16000)
        >>> distance(torch.zeros(1, 1, 4000), torch.zeros(1, 1, 4000)).item() < 1e-3
        True

    References:
        Défossez et al., "EnCodec" (2022), arXiv:2210.13438, section 3.4 (L1 and L2, windows 2^5 … 2^11, 64 mels); Zeghidour et al.,
        "SoundStream" (2021), arXiv:2107.03312, eq. 6 (linear L1, logarithmic L2).
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        window_samples: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048),
        num_mels: int = 64,
        log_weight: float = 1.0,
        floor: float = 1e-4,
        windows_per_call: int | None = None,
    ) -> None:
        super().__init__(window_samples, windows_per_call)
        if num_mels < 1 or not floor > 0:
            raise ValueError(f"num_mels must be at least 1 and floor positive, got {num_mels} and {floor}")
        self.sample_rate = sample_rate
        self.log_weight, self.floor = log_weight, floor
        self._filters = {
            window: Constant(partial(_filters, sample_rate, window, num_mels)) for window in self.window_samples
        }

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        # 1e-8 under the root keeps its gradient finite where both are silent
        frames = ((ours.log10() - theirs.log10()).square().mean(dim=1) + 1e-8).sqrt()
        return (ours - theirs).abs().mean() + self.log_weight * frames.mean()

    def _features(self, spectra: Tensor, window: int) -> Tensor:
        power = (spectra.real.square() + spectra.imag.square()) / self._energy(window, spectra.device)
        return self._filters[window].on(spectra.device) @ (power + self.floor**2).sqrt()


def _filters(sample_rate: int, window: int, num_mels: int) -> Tensor:
    """Triangular filters whose weights sum to one each, as many as have a bin."""
    mel_filter_bank = need("transformers.audio_utils", "audio").mel_filter_bank
    for count in range(min(num_mels, window // 2), 0, -1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the empty filters that this loop looks for
            bank = mel_filter_bank(
                window // 2 + 1, count, 0.0, sample_rate / 2, sample_rate, norm=None, mel_scale="slaney"
            )
        if (bank.max(axis=0) > 0).all():
            break
    return torch.from_numpy((bank / bank.sum(axis=0)).T.copy()).float()
