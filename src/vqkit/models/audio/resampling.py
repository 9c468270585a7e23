"""Change the sample rate of waveforms in memory."""

import numpy as np
import torch
from torch import Tensor

from vqkit.counts import check_numbers
from vqkit.types import Float, need

__all__ = ["resample"]


@torch.no_grad()
def resample(
    wav: Float[Tensor, "batch channels samples"], sample_rate: int, target_sample_rate: int
) -> Float[Tensor, "batch channels resampled"]:
    """Resample by soxr at its very high quality, as the file readers do; equal rates return the input itself.

    Args:
        wav: waveforms.
        sample_rate: their rate, in Hz.
        target_sample_rate: the rate wanted, in Hz.

    Returns:
        ``round(samples · target / rate)`` samples, float32, on the same device; no gradient.

    Raises:
        ValueError: a rate below 1 Hz.

    Example:
        >>> resample(torch.zeros(1, 2, 44100), 44100, 16000).shape
        torch.Size([1, 2, 16000])
    """
    check_numbers(sample_rate=sample_rate, target_sample_rate=target_sample_rate)
    for name, rate in (("sample_rate", sample_rate), ("target_sample_rate", target_sample_rate)):
        if rate < 1:
            raise ValueError(f"{name} must be at least 1 Hz, got {rate}")
    if sample_rate == target_sample_rate:
        return wav
    soxr = need("soxr", "audio")
    rows = wav.detach().to("cpu", torch.float32).flatten(end_dim=-2).numpy()
    turned = [soxr.resample(row, sample_rate, target_sample_rate, quality="VHQ") for row in rows]
    return torch.from_numpy(np.stack(turned)).reshape(*wav.shape[:-1], -1).to(wav.device)
