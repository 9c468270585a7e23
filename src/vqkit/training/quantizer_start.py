"""Fit a codec's quantizer to what its encoder makes of the training data."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Dataset

from vqkit.models.waveform_codec import WaveformCodec
from vqkit.nn import balanced_rotation

__all__ = ["fit_quantizer"]

_FRAMES = 1 << 14  # 2 s a code for 4096 codes, and seconds of k-means
_BATCH = 16  # crops encoded at once


@torch.no_grad()
def fit_quantizer(codec: WaveformCodec, crops: "Dataset[Tensor]", *, frames: int = _FRAMES, seed: int = 0) -> None:
    """Turn the latent so that its pieces are balanced, and fit the quantizer to it, on the first crops of a data set.

    The latent of a codec that is not `rotatable` is left as it is. Every rank ends with rank 0's weights.

    Args:
        codec: its encoder makes the latents, its quantizer is fitted; both keep their mode.
        crops: waveforms (channels, samples), at least one.
        frames: about how many latents are used.
        seed: as in `Quantizer.fit`.

    Raises:
        ValueError: as in `Quantizer.fit`.
    """
    device = next(codec.parameters()).device
    with torch.autocast(device.type, enabled=False):  # a rotation in bfloat16 is none
        _fit(codec, crops, frames, seed, device)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        for value in codec.state_dict().values():
            dist.broadcast(value, src=0)


def _fit(codec: WaveformCodec, crops: "Dataset[Tensor]", frames: int, seed: int, device: torch.device) -> None:
    frames_per_crop = -(-crops[0].shape[-1] // codec.hop_samples)
    count = min(len(crops), -(-frames // frames_per_crop))  # type: ignore[arg-type]  # map-style: it has a length
    starts = range(0, count, _BATCH)
    batches = (torch.stack([crops[i] for i in range(start, min(start + _BATCH, count))]) for start in starts)
    latents = torch.cat([codec.analyze(batch.to(device)).flatten(end_dim=1) for batch in batches])
    if codec.rotatable and len(latents) > codec.quantizer.dim:
        rotation = balanced_rotation(latents)
        codec.rotate_latent(rotation)
        latents = latents @ rotation
    codec.quantizer.fit(latents, seed=seed)
