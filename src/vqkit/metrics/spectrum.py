"""Short-time spectra and mel filters, as the spectral metrics use them.

Conventions:
    Frames are centred on multiples of ``hop_samples``, the ends continued by reflection (as librosa's ``center=True,
    pad_mode="reflect"``), with a periodic Hann window of ``window_samples``; frame count 1 + samples // hop_samples.
    Magnitudes are not scaled: a sine of amplitude 1 peaks at ``window_samples`` / 4… see :func:`full_scale`.

Metrics:
    None: the metrics of :mod:`vqkit.metrics.lsd`, ``mel_distance``, ``logmel`` and ``chroma`` are built on these.

References:
    McFee et al., librosa: audio and music signal analysis in Python, SciPy 2015.
"""

import warnings

import torch
from torch import Tensor

from vqkit.types import Float, need

__all__ = ["full_scale", "magnitudes", "mel_filters", "min_samples"]


def min_samples(window_samples: int) -> int:
    """Shortest waveform whose ends can be continued by reflection.

    Args:
        window_samples: length of the window.

    Returns:
        Number of samples.

    Example:
        >>> min_samples(2048)
        1025
    """
    return window_samples // 2 + 1


def magnitudes(
    waveform: Float[Tensor, "channels samples"], window_samples: int, hop_samples: int
) -> Float[Tensor, "channels bins frames"]:
    """Magnitude of the short-time Fourier transform.

    Args:
        waveform: waveform, at least ``min_samples(window_samples)`` samples.
        window_samples: length of the Hann window and of the transform.
        hop_samples: distance of the frames.

    Returns:
        ``window_samples // 2 + 1`` bins by ``1 + samples // hop_samples`` frames.

    Example:
        >>> magnitudes(torch.ones(1, 4096), 2048, 512).shape
        torch.Size([1, 1025, 9])
    """
    window = torch.hann_window(window_samples, dtype=waveform.dtype, device=waveform.device)
    spectrum = torch.stft(
        waveform, window_samples, hop_samples, window=window, center=True, pad_mode="reflect", return_complex=True
    )
    return spectrum.abs()


def full_scale(window_samples: int) -> float:
    """Magnitude at which a sine of amplitude 1 peaks: half the sum of the Hann window.

    Args:
        window_samples: length of the window.

    Returns:
        The magnitude.

    Example:
        >>> full_scale(2048)
        512.0
    """
    return window_samples / 4


def mel_filters(
    sample_rate: int, window_samples: int, num_mels: int, norm: str | None
) -> tuple[Float[Tensor, "mels bins"], int]:
    """Mel filters from 0 Hz to half the sample rate on Slaney's scale, as many as have a bin each.

    Args:
        sample_rate: sample rate in Hz.
        window_samples: length of the transform.
        num_mels: requested number of filters.
        norm: ``"slaney"`` for filters of equal area (librosa's default), None for filters of peak 1.

    Returns:
        The filters in float64, and their number: ``num_mels``, or the largest smaller number that leaves no filter
        without a frequency bin.

    Raises:
        ValueError: ``num_mels`` is not positive.

    Example:
        >>> mel_filters(24000, 2048, 128, norm=None)[1]
        128
        >>> mel_filters(48000, 32, 5, norm=None)[1]  # bins are 1.5 kHz apart: five filters do not fit
        4
    """
    if num_mels < 1:
        raise ValueError(f"num_mels must be at least 1, got {num_mels}")
    mel_filter_bank = need("transformers.audio_utils", "eval").mel_filter_bank
    for count in range(num_mels, 0, -1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of the empty filters this loop is looking for
            bank = mel_filter_bank(
                window_samples // 2 + 1, count, 0.0, sample_rate / 2, sample_rate, norm=norm, mel_scale="slaney"
            )
        if (bank.max(axis=0) > 0).all():
            break
    return torch.from_numpy(bank.T.copy()), count
