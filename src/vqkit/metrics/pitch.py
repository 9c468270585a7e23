"""Fundamental frequency of a waveform, frame by frame, by YIN.

Conventions:
    A frame begins every ``HOP_SECONDS``; it compares a window of ``WINDOW_PERIODS`` of the lowest pitch with the same window one lag later.
    An F0 is in Hz; 0 stands for a frame without pitch (unvoiced speech, noise, silence).

Metrics:
    None: :mod:`vqkit.metrics.f0` is built on it.

References:
    de Cheveigné & Kawahara, YIN, a fundamental frequency estimator for speech and music, JASA 111(4), 2002: steps 2 to 5
    (difference function, its normalised form, absolute threshold, parabolic interpolation).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.types import Float

__all__ = ["HOP_SECONDS", "WINDOW_PERIODS", "f0_hz", "pitch_samples"]

HOP_SECONDS = 0.01
WINDOW_PERIODS = 1.5
_SILENCE = 1e-6  # mean square below which a window is silent: 60 dB below a full-scale square wave


def pitch_samples(sample_rate: int, lowest_hz: float) -> int:
    """Samples that one frame looks at.

    Example:
        >>> pitch_samples(16000, 60.0)  # 1.5 periods of 267 samples, and a lag of one, with a neighbour on its far side
        669
    """
    longest = math.ceil(sample_rate / lowest_hz)
    return math.ceil(WINDOW_PERIODS * longest) + longest + 1


def f0_hz(
    waveform: Float[Tensor, "channels samples"], sample_rate: int, lowest_hz: float, highest_hz: float, threshold: float
) -> Float[Tensor, "channels frames"]:
    """F0 of each frame, 0 where there is none.

    Args:
        waveform: waveform of a float dtype.
        sample_rate: its sample rate in Hz.
        lowest_hz: lowest F0.
        highest_hz: highest F0.
        threshold: largest share of a window's power that may differ one period later.

    Returns:
        Hz, of the frames that lie in the waveform; one that reached beyond its end would have another pitch.

    Example:
        >>> time = torch.arange(8000, dtype=torch.float64) / 8000
        >>> f0_hz(torch.sin(2 * torch.pi * 200 * time)[None], 8000, 60.0, 400.0, 0.2)[0, 10:13].round()
        tensor([200., 200., 200.], dtype=torch.float64)
    """
    hop, size = round(HOP_SECONDS * sample_rate), pitch_samples(sample_rate, lowest_hz)
    longest = math.ceil(sample_rate / lowest_hz)
    window = size - longest - 1
    frames = waveform.unfold(-1, size, hop)
    normalised = _normalised_difference(frames, window, longest + 1)
    lag = _first_dip(normalised, max(2, math.floor(sample_rate / highest_hz)), longest, threshold)
    voiced = (lag > 0) & (frames[..., :window].square().mean(-1) > _SILENCE)
    return torch.where(voiced, sample_rate / _refined(normalised, lag.clamp_min(1)), 0.0)


def _normalised_difference(frames: Tensor, window: int, longest: int) -> Tensor:
    """d'(τ) for τ = 0 … longest (equation 8): d(τ) over the mean of d(1) … d(τ); 1 at τ = 0 and in silence."""
    size = 1 << (frames.shape[-1] + window - 1).bit_length()  # no product wraps around
    spectrum = torch.fft.rfft(frames, size)
    head = torch.fft.rfft(frames[..., :window], size)
    products = torch.fft.irfft(spectrum * head.conj(), size)[..., : longest + 1]
    power = functional.pad(frames.square().cumsum(-1), (1, 0))
    later = power[..., window : window + longest + 1] - power[..., : longest + 1]
    difference = (later[..., :1] + later - 2 * products).clamp_min(0)
    difference[..., 0] = 0
    count = torch.arange(longest + 1, dtype=frames.dtype, device=frames.device)
    total = difference.cumsum(-1)
    # the transform leaves a rounding of about 1e-15 of the power, which must not look like a pitch of silence
    floor = 1e-12 * later[..., :1] + torch.finfo(frames.dtype).tiny
    return torch.where(total > floor, difference * count / total.clamp_min(floor), 1.0)


def _first_dip(normalised: Tensor, shortest: int, longest: int, threshold: float) -> Tensor:
    """The first local minimum at or after the first lag whose difference is below the threshold; 0 where none is."""
    searched = normalised[..., shortest : longest + 1]
    below = searched < threshold
    rising = normalised[..., shortest + 1 : longest + 2] >= searched
    dip = below.int().cummax(-1).values.bool() & rising
    return torch.where(dip.any(-1), dip.int().argmax(-1) + shortest, 0)


def _refined(normalised: Tensor, lag: Tensor) -> Tensor:
    """The lag at the bottom of a parabola through a dip and its neighbours."""
    left, bottom, right = (normalised.gather(-1, (lag + step)[..., None])[..., 0] for step in (-1, 0, 1))
    curvature = left - 2 * bottom + right
    shift = torch.where(curvature > 0, 0.5 * (left - right) / curvature.clamp_min(1e-12), 0.0)
    return lag + shift.clamp(-1, 1)
