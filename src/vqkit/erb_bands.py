"""Bands of hearing: triangles whose centres are evenly spaced on the ERB scale.

References:
    Glasberg & Moore, "Derivation of auditory filter shapes from notched-noise data" (1990), eq. 4.
"""

import torch
from torch import Tensor

__all__ = ["erb_bands"]


def erb_bands(sample_rate: int, bins: int, count: int) -> Tensor:
    """Triangular bands that add up to one at every bin, their centres evenly spaced on the ERB scale.

    Args:
        sample_rate: sample rate in Hz.
        bins: number of bins, evenly spaced from 0 Hz to half the sample rate.
        count: number of bands, at least 2.

    Returns:
        Weights (bands, bins).

    Example:
        >>> erb_bands(16000, 129, 8).sum(dim=0).unique()
        tensor([1.])
    """
    hertz = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)
    scale = (1 + 0.00437 * hertz).log10()
    place = scale / scale[-1] * (count - 1)
    return (1 - (place - torch.arange(count, dtype=torch.float64)[:, None]).abs()).clamp_min(0).float()
