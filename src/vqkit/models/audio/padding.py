"""Items of different lengths in one batch: one by one where exactness counts, together where training has to be fast.

Conventions
    ``lengths`` are samples of each item; None means that nothing is padded. A frame is real while it holds a real sample.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.models.audio.resampling import resample
from vqkit.models.layout import channels_first
from vqkit.types import Bool, Float, Int

__all__ = [
    "check_lengths",
    "decode_padded",
    "encode_padded",
    "frame_mask",
    "real_frames",
    "resample_padded",
    "silence_end",
]


def check_lengths(
    wav: Float[Tensor, "batch channels samples"], lengths: Int[Tensor, " batch"] | None
) -> Int[Tensor, " batch"] | None:
    """Check lengths in samples and return them; None where no item is padded.

    Raises:
        TypeError: not one integer an item.
        ValueError: a length out of range.
    """
    if lengths is None:
        return None
    if lengths.is_floating_point() or lengths.shape != wav.shape[:1]:
        shape = tuple(lengths.shape)
        raise TypeError(f"lengths must be {wav.shape[0]} integers, got {lengths.dtype} of shape {shape}")
    if ((lengths < 1) | (lengths > wav.shape[-1])).any():
        raise ValueError(f"lengths must be in 1 … {wav.shape[-1]} samples, got {lengths.tolist()}")
    return None if (lengths == wav.shape[-1]).all() else lengths


def frame_mask(lengths: Int[Tensor, " batch"], samples: int, hop_samples: int) -> Bool[Tensor, "batch frames"]:
    """Return a mask of frames, True where a frame is not padding.

    Example:
        >>> frame_mask(torch.tensor([3, 5]), samples=8, hop_samples=4).tolist()
        [[True, False], [True, True]]
    """
    return torch.arange(-(-samples // hop_samples), device=lengths.device) * hop_samples < lengths[:, None]


def real_frames(codes: Int[Tensor, "batch num_codes frames"]) -> Bool[Tensor, "batch frames"] | None:
    """Mark the frames up to the last one with a code; None where that is every item's last frame. A −1 before it is a lost code."""
    coded = (codes >= 0).any(dim=1)
    return None if coded[:, -1].all() else coded.flip(1).cummax(dim=1).values.flip(1)


def silence_end(
    wav: Float[Tensor, "batch channels samples"], lengths: Int[Tensor, " batch"] | None
) -> Float[Tensor, "batch channels samples"]:
    """Zeros after the end of each item."""
    if lengths is None:
        return wav
    return torch.where(torch.arange(wav.shape[-1], device=wav.device) < lengths[:, None, None], wav, 0.0)


def encode_padded(
    encoder: nn.Module,
    wav: Float[Tensor, "batch channels samples"],
    lengths: Int[Tensor, " batch"] | None,
    hop_samples: int,
    together: bool,
) -> Float[Tensor, "batch frames dim"]:
    """Encode waveforms to latents; those of padding are meaningless."""
    if together or lengths is None:
        latent: Tensor = encoder(silence_end(wav, lengths))
        return latent.transpose(1, 2)
    frames = -(-wav.shape[-1] // hop_samples)
    alone = [encoder(item[None, :, :length])[0] for item, length in zip(wav, lengths.tolist(), strict=True)]
    return torch.stack([functional.pad(z, (0, frames - z.shape[-1])) for z in alone]).transpose(1, 2)


def decode_padded(
    decoder: nn.Module,
    latent: Float[Tensor, "batch frames dim"],
    mask: Bool[Tensor, "batch frames"] | None,
    hop_samples: int,
    together: bool,
) -> Float[Tensor, "batch channels samples"]:
    """Waveforms of frames · hop samples; zeros, or anything if ``together``, behind the real frames."""
    latent = channels_first(latent)
    if together or mask is None or mask.all():
        wav: Tensor = decoder(latent)
        return wav
    samples, frames = latent.shape[-1] * hop_samples, mask.sum(dim=1).tolist()
    alone = [
        decoder(item[None, :, : max(count, 1)])[0] * (count > 0) for item, count in zip(latent, frames, strict=True)
    ]
    return torch.stack([functional.pad(item, (0, samples - item.shape[-1])) for item in alone])


def resample_padded(
    wav: Float[Tensor, "batch channels samples"],
    lengths: Int[Tensor, " batch"] | None,
    sample_rate: int,
    target_sample_rate: int,
) -> tuple[Float[Tensor, "batch channels resampled"], Int[Tensor, " batch"] | None]:
    """Waveforms and lengths at another rate; padding has no part in it."""
    if sample_rate == target_sample_rate or lengths is None:
        return resample(wav, sample_rate, target_sample_rate), lengths
    items = zip(wav, lengths.tolist(), strict=True)
    alone = [resample(item[None, :, :length], sample_rate, target_sample_rate)[0] for item, length in items]
    lengths = torch.tensor([item.shape[-1] for item in alone], device=wav.device)
    return torch.stack([functional.pad(item, (0, int(lengths.max()) - item.shape[-1])) for item in alone]), lengths
