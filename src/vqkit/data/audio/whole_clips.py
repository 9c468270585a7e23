"""Whole audio clips of different lengths, for evaluation."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from vqkit.data.audio.clips import Clip
from vqkit.data.audio.file import read_clip
from vqkit.types import Float, Int


class AudioClips(Dataset[Tensor]):
    """A map-style data set of whole clips, in the order given: item i is ``clips[i]``.

    A clip that cannot be read, or reaches far outside ±1, is an error, not passed over: a table over fewer clips would not say so.

    Args:
        clips: clips from `list_clips`.
        sample_rate: sample rate of the items, in Hz.
        channels: channels of the items, 1 or 2.
        max_seconds: read only the beginning of longer clips; None reads all.

    Raises:
        ValueError: there are no clips.

    Example:
        >>> from vqkit.data import list_clips, sample_folder
        >>> clips = AudioClips(list_clips(sample_folder(), "test", "music"), 24000, 1, max_seconds=3)
        >>> [tuple(clip.shape) for clip in clips]
        [(1, 72000), (1, 48000)]
    """

    def __init__(
        self, clips: Sequence[Clip], sample_rate: int, channels: int, max_seconds: float | None = None
    ) -> None:
        if not clips:
            raise ValueError("clips is empty, at least one is needed")
        self.clips = list(clips)
        self.sample_rate, self.channels, self.max_seconds = sample_rate, channels, max_seconds

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Float[Tensor, "channels samples"]:
        return read_clip(self.clips[index].path, self.sample_rate, self.channels, seconds=self.max_seconds)


class AudioBatch(NamedTuple):
    """Clips of different lengths in one tensor; a named tuple, which data loaders and Lightning know how to move.

    Attributes:
        waveforms: ``(batch, channels, samples)``, zeros after the end of each clip.
        lengths: ``(batch,)`` int64, samples of each clip.
    """

    waveforms: Float[Tensor, "batch channels samples"]
    lengths: Int[Tensor, " batch"]


def collate_clips(clips: Sequence[Float[Tensor, "channels _"]]) -> AudioBatch:
    """Pad clips with zeros to the longest; the ``collate_fn`` of a data loader over `AudioClips`.

    Args:
        clips: each ``(channels, samples)``, with the same number of channels.

    Returns:
        The batch and the lengths.

    Raises:
        ValueError: no clips, or different numbers of channels.

    Example:
        >>> batch = collate_clips([torch.ones(1, 3), torch.ones(1, 5)])
        >>> batch.waveforms.shape, batch.lengths.tolist()
        (torch.Size([2, 1, 5]), [3, 5])
    """
    if not clips:
        raise ValueError("clips is empty, at least one is needed")
    if len({clip.shape[0] for clip in clips}) > 1:
        raise ValueError(
            f"clips have {sorted({clip.shape[0] for clip in clips})} channels, they must have the same number"
        )
    lengths = torch.tensor([clip.shape[1] for clip in clips])
    longest = int(lengths.max())
    return AudioBatch(torch.stack([functional.pad(clip, (0, longest - clip.shape[1])) for clip in clips]), lengths)
