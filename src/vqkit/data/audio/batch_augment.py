"""Random changes of batches of sound, made on whatever device the batch is on; PyTorch's global generator draws.

References:
    BRIDLE, appendix A (roll and gain in pretraining, mixup and SpecAugment in fine-tuning); Zhang et al., "mixup" (2018), arXiv:1710.09412;
    Park et al., "SpecAugment" (2019), arXiv:1904.08779; Tokozume et al., "Learning from between-class examples" (2018), arXiv:1711.10282.
"""

import torch
from torch import Tensor

from vqkit.types import Bool, Float

__all__ = ["gains", "mixup", "random_gain", "roll", "spec_augment"]


def roll(
    wave: Float[Tensor, "batch channels samples"], shares: Float[Tensor, " batch"] | None = None
) -> Float[Tensor, "batch channels samples"]:
    """Begin every wave at a random sample; what is cut off follows at the end.

    Args:
        wave: the waves.
        shares: start of each wave as a share of its length, 0 … 1; drawn by default.
    """
    samples = wave.shape[-1]
    shares = torch.rand(len(wave)) if shares is None else shares
    starts = (shares * samples).long().clamp_max(samples - 1).to(wave.device)[:, None, None]
    places = (torch.arange(samples, device=wave.device) + starts) % samples
    return wave.gather(-1, places.expand_as(wave))


def gains(count: int) -> Float[Tensor, " count"]:
    """Factors between 0.5 and 1.5, drawn from Beta(10, 10) + 0.5."""
    ten = torch.full((count,), 10.0)
    return torch.distributions.Beta(ten, ten).sample() + 0.5


def random_gain(
    wave: Float[Tensor, "batch channels samples"], factors: Float[Tensor, " batch"] | None = None
) -> Float[Tensor, "batch channels samples"]:
    """Multiply every wave by a factor of its own; by default one of `gains`."""
    factors = gains(len(wave)) if factors is None else factors
    return wave * factors.to(wave)[:, None, None]


def mixup(
    wave: Float[Tensor, "batch channels samples"], targets: Float[Tensor, "batch classes"], probability: float = 0.5
) -> tuple[Float[Tensor, "batch channels samples"], Float[Tensor, "batch classes"]]:
    """Mix some waves, and their targets, with others of the batch; the shares are drawn from Beta(10, 10).

    Args:
        wave: the waves.
        targets: one row a wave.
        probability: share of the waves that are mixed.

    Returns:
        Waves and targets.

    Example:
        >>> wave, targets = mixup(torch.ones(4, 1, 8), torch.eye(4), probability=1.0)
        >>> targets.sum(dim=1).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    count = len(wave)
    ten = torch.full((count,), 10.0, device=wave.device)
    share = torch.distributions.Beta(ten, ten).sample()
    share = torch.where(torch.rand(count, device=wave.device) < probability, share, 1.0)
    other = torch.randperm(count, device=wave.device)
    mixed = share[:, None, None] * wave + (1 - share)[:, None, None] * wave[other]
    return mixed, share[:, None] * targets + (1 - share)[:, None] * targets[other]


def spec_augment(
    spectra: Float[Tensor, "batch channels frames bands"], frames: int, bands: int, value: float = 0.0
) -> Float[Tensor, "batch channels frames bands"]:
    """Blank a random stretch of time and a random stretch of bands in every spectrogram.

    Args:
        spectra: the spectrograms.
        frames: longest stretch of time, in frames; each length is equally likely.
        bands: largest number of neighbouring bands; each number is equally likely.
        value: value that replaces the blanked ones.
    """
    hidden = _stretch(spectra, 2, frames)[:, None, :, None] | _stretch(spectra, 3, bands)[:, None, None, :]
    return spectra.masked_fill(hidden, value)


def _stretch(spectra: Tensor, dim: int, longest: int) -> Bool[Tensor, "batch size"]:
    """Return a mask, True within a stretch of random length and place."""
    size, device = spectra.shape[dim], spectra.device
    length = (torch.rand(len(spectra), 1, device=device) * (min(longest, size) + 1)).floor()
    start = (torch.rand(len(spectra), 1, device=device) * (size - length + 1)).floor()
    places = torch.arange(size, device=device)
    return (places >= start) & (places < start + length)
