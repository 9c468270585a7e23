"""Measurement of video tokenizers: on the middles of the videos, judged frame by frame, shown side by side."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from vqkit.compare.dataset import Dataset
from vqkit.compare.measure import Measure, too_small
from vqkit.data import write_image
from vqkit.data.video import VideoItem, middle_clip
from vqkit.metrics import image_metrics
from vqkit.modality import VIDEO
from vqkit.models.tokenizer import Tokenizer
from vqkit.models.video.tokenizer import VideoTokenizer
from vqkit.types import Float

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["VideoMeasure", "side_by_side"]

_BATCH = 8
_COUNTED = 128  # training clips whose codes give the histograms of the entropy coder
_SHOWN_RATE = 8.0  # frames a second of the players, whatever the file's rate and the stride are: motion can be followed


def side_by_side(
    video: Float[Tensor, "channels frames height width"],
) -> Float[Tensor, "channels height frames_times_width"]:
    """The frames of a clip as one image, from left to right.

    Example:
        >>> side_by_side(torch.rand(3, 8, 16, 24)).shape
        torch.Size([3, 16, 192])
    """
    return video.movedim(1, 2).flatten(2)


class VideoMeasure(Measure[VideoItem]):
    """Measures tokenizers on clips of one size. A metric is that of each frame, averaged.

    Args:
        frames: number of frames of a clip.
        size: height and width in pixels.
        stride: frames of the file from one frame of a clip to the next.
    """

    modality = VIDEO
    examples, rate = "videos", "bpp"
    suffix = ".png"
    titles: ClassVar[Mapping[str, str]] = {"mae": "MAE"}
    first = ("psnr", "ssim", "mae")

    def __init__(self, frames: int, size: tuple[int, int], stride: int) -> None:
        self.clip_size, self.stride = (frames, *size), stride

    @property
    def protocols(self) -> dict[str, Any]:
        """Protocol of each metric by name."""
        found = super().protocols
        for protocol in found.values():
            told = protocol["description"].replace("mean over images", "mean over the frames of all clips")
            protocol["description"] = told
        return found

    def items(self, data: Dataset, training: bool) -> list[VideoItem]:
        """Videos to train on, or to measure on."""
        return data.videos(training)

    def described(self, train: Sequence[VideoItem], test: Sequence[VideoItem]) -> dict[str, Any]:
        """Return the numbers of clips and their size, for the record."""
        return {"videos": {"train": len(train), "test": len(test)}, "size": list(self.clip_size)}

    def label(self, item: VideoItem) -> str:
        """The file's name without its suffix."""
        return Path(item.name).stem

    def extent(self, item: VideoItem, signal: Tensor) -> dict[str, Any]:
        """Class, frames, width and height, and the rate of the players."""
        frames, height, width = self.clip_size
        sizes = {"frames": frames, "width": width, "height": height, "frame_rate": _SHOWN_RATE}
        return {"group": item.label or "video", **sizes}

    def metrics(self) -> "MetricCollection":
        """Metrics of images, without SSIM where they are too small for its windows."""
        return image_metrics(size=self.clip_size[1:])

    def left_out(self) -> str:
        """What is said of SSIM, which frames below 11 pixels have none of."""
        return too_small("frames", self.clip_size[1:])

    def judged(self, signals: Tensor) -> Tensor:
        """Reshape clips to a batch of all their frames, as images."""
        return signals.transpose(1, 2).flatten(end_dim=1)

    def signals(self, items: Sequence[VideoItem]) -> Iterator[tuple[VideoItem, Tensor]]:
        """The middles of the videos, (1, channels, frames, height, width)."""
        frames, *size = self.clip_size
        for item in items:
            yield item, middle_clip(item.path, frames, self.stride, (size[0], size[1]))[None]

    def batches(self, items: Sequence[VideoItem]) -> Iterator[Tensor]:
        """Some clips at once."""
        clips = (clip for _, clip in self.signals(items))
        while batch := list(islice(clips, _BATCH)):
            yield torch.cat(batch)

    def counting(self, train: Sequence[VideoItem]) -> Sequence[VideoItem]:
        """A hundred clips, or up to twice as many, spread evenly."""
        return train[:: max(1, len(train) // _COUNTED)]

    def size(self, signals: Tensor) -> tuple[int, int, int]:
        """Frames, height and width."""
        return self.clip_size

    def units(self, signals: Tensor) -> float:
        """Pixels of all frames."""
        return len(signals) * math.prod(self.clip_size)

    def packed(self, codes: list[Tensor]) -> list[Tensor]:
        """Join the codes of all clips, as for images."""
        return [torch.cat(codes)]

    def write(self, path: Path, signal: Tensor) -> None:
        """Write the frames side by side."""
        write_image(path, side_by_side(signal))

    def facts(self, model: Tokenizer) -> dict[str, Any]:
        """Bits of a clip before entropy coding."""
        assert isinstance(model, VideoTokenizer)
        return {"bits_per_clip": math.prod(model.grid(*self.clip_size)) * model.quantizer.bits_per_vector}
