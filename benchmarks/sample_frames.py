"""Frames of the clips that ship with vqkit, for the benchmarks of the primer: 320 MDCT coefficients of sound at 24 kHz, unit energy."""

import torch
from torch import Tensor

from vqkit import VQ
from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.models.audio.frames import FrameCodec

SAMPLE_RATE, HOP = 24000, 320


def latents(split: str) -> list[Tensor]:
    """Latents (frames, 320) of each clip of at least a second, in the order of their names: music first, then speech."""
    codec = FrameCodec(VQ(HOP, 2), sample_rate=SAMPLE_RATE, whitening=0.0)
    clips = [clip for clip in list_clips(sample_folder(), split=split) if clip.seconds >= 1]
    waves = (read_audio(clip.path, SAMPLE_RATE, channels=1).samples for clip in clips)
    return [codec.analyze(wave[None])[0] for wave in waves]


def frames(split: str) -> Tensor:
    """All frames of a split, in order, in units of the root mean square of the training frames."""
    scale = torch.cat(latents("train")).square().mean().sqrt()
    return torch.cat(latents(split)) / scale


def pieces(vectors: Tensor, dim: int, most: int, seed: int = 0) -> Tensor:
    """At most ``most`` pieces of ``dim`` neighbouring coefficients, drawn at random from all frames, in their order."""
    rows = vectors.reshape(-1, dim)
    if len(rows) <= most:
        return rows
    kept = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:most]
    return rows[kept.sort().values]
