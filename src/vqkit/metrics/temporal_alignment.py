"""Temporal alignment (TA): whether sound begins when the picture changes.

Conventions:
    The onset strength of a sound is the rise of its log spectrum, summed over bands; the change of a video is the mean absolute difference
    of successive pictures. Both are series of one value a picture. TA is their Pearson correlation, −1 … 1, the largest over shifts of at
    most ``lag`` pictures, since a frame of sound is not a frame of picture. There is no standard definition; the IVQ paper states none, so
    values compare with each other and not with its .61.

Metrics:
    `temporal_alignment`, higher is better.

References:
    Böck & Widmer, "Maximum filter vibrato suppression for onset detection" (2013) (spectral flux of a log spectrum); IVQ, section 4.2.
"""

import torch
from torch import Tensor

from vqkit.types import Float

__all__ = ["onset_strength", "temporal_alignment", "visual_change"]

_WINDOW = 1024
_FLOOR = 1e-3  # of magnitudes, beside samples of at most 1: noise has no onsets


def onset_strength(
    wav: Float[Tensor, " samples"], sample_rate: int, rate: float, count: int
) -> Float[Tensor, " count"]:
    """The strength of onsets around each picture.

    Args:
        wav: mono, in −1 … 1.
        sample_rate: sample rate in Hz.
        rate: pictures a second.
        count: number of pictures.
    """
    hop = max(1, round(sample_rate / (4 * rate)))
    window = torch.hann_window(_WINDOW, dtype=wav.dtype, device=wav.device)
    spectrum = torch.stft(wav, _WINDOW, hop, window=window, return_complex=True).abs() / window.sum()
    rise = (spectrum + _FLOOR).log().diff(dim=1).clamp_min(0).sum(dim=0)
    # step i is the rise up to time (i + 1) · hop; a picture gets the strongest rise in its time
    place = (((torch.arange(len(rise)) + 1) * hop / sample_rate) * rate).floor().long().clamp_max(count - 1)
    return torch.zeros(count, dtype=wav.dtype).scatter_reduce(0, place, rise.cpu(), "amax")


def visual_change(pictures: Float[Tensor, "count channels height width"]) -> Float[Tensor, " count"]:
    """Compute each picture's mean absolute difference from the one before it; 0 for the first."""
    change = (pictures[1:] - pictures[:-1]).abs().flatten(1).mean(dim=1)
    return torch.cat([change.new_zeros(1), change])


def temporal_alignment(
    wav: Float[Tensor, " samples"],
    sample_rate: int,
    pictures: Float[Tensor, "count channels height width"],
    rate: float,
    lag: int = 1,
) -> float:
    """The alignment of a sound and a video.

    Args:
        wav: mono.
        sample_rate: sample rate in Hz.
        pictures: pictures of the video, at a constant rate.
        rate: pictures a second.
        lag: largest shift between the two, in pictures.

    Returns:
        The correlation; 0 where nothing changes or nothing is heard.

    Raises:
        ValueError: fewer than 4 pictures, or a sound shorter than a window.
    """
    if len(pictures) < 4 or len(wav) < _WINDOW:
        raise ValueError(f"at least 4 pictures and {_WINDOW} samples are needed, got {len(pictures)} and {len(wav)}")
    heard = onset_strength(wav.double(), sample_rate, rate, len(pictures))
    seen = visual_change(pictures.double())
    found = []
    for shift in range(-lag, lag + 1):
        one = heard[max(0, shift) : len(heard) + min(0, shift)]
        other = seen[max(0, -shift) : len(seen) - max(0, shift)]
        found.append(_correlation(one, other))
    return max(found)


def _correlation(one: Tensor, other: Tensor) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = (one.norm() * other.norm()).item()
    return float(one @ other) / scale if scale > 1e-12 else 0.0
