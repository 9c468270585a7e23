"""Fit a codec's quantizer to what its encoder makes of the training data."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Dataset

from vqkit.models import AudioCodec

__all__ = ["fit_quantizer"]

_FRAMES = 1 << 14  # 2 s a code for 4096 codes, and seconds of k-means
_BATCH = 16  # crops encoded at once


@torch.no_grad()
def fit_quantizer(codec: AudioCodec, crops: "Dataset[Tensor]", *, frames: int = _FRAMES, seed: int = 0) -> None:
    """Fit the quantizer to latents of the first crops of a data set; every rank ends with rank 0's.

    Args:
        codec: its encoder makes the latents, its quantizer is fitted; both keep their mode.
        crops: waveforms (channels, samples), at least one.
        frames: about how many latents are used.
        seed: as in `Quantizer.fit`.

    Raises:
        ValueError: as in `Quantizer.fit`.
    """
    device = next(codec.parameters()).device
    frames_per_crop = -(-crops[0].shape[-1] // codec.hop_samples)
    count = min(len(crops), -(-frames // frames_per_crop))  # type: ignore[arg-type]  # map-style: it has a length
    batches = (
        torch.stack([crops[i] for i in range(first, min(first + _BATCH, count))]) for first in range(0, count, _BATCH)
    )
    codec.quantizer.fit((codec.analyze(batch.to(device)) for batch in batches), seed=seed)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        for value in codec.quantizer.state_dict().values():
            dist.broadcast(value, src=0)
