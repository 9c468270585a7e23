"""A small VQ-VAE of 3-D convolutions on clips of video, so that every quantizer, and interpolation over volumes, can be tried on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vqkit.compare.backbone import Backbone as BackboneBase
from vqkit.compare.backbone import Note, Training
from vqkit.compare.video import VideoMeasure
from vqkit.compare.watch import trained
from vqkit.data.video import VideoItem, middle_clip
from vqkit.modality import VIDEO
from vqkit.models.video.tokenizer import VideoTokenizer
from vqkit.quantize import Quantizer
from vqkit.training.data.video import VideoDataModule
from vqkit.training.optimisation import Optimisation
from vqkit.training.reconstruction.codec import usual_phases, weighted_losses
from vqkit.training.reconstruction.module import ReconstructionModule
from vqkit.training.runs.run import train

__all__ = ["Backbone"]

_VARIANCE_CLIPS = 64


@dataclass(frozen=True)
class Backbone(BackboneBase):
    """`VideoTokenizer`. The weights of encoder and decoder start alike for all quantizers of a seed.

    Args:
        width: width of the latent, the ``dim`` of every quantizer.
        frames: frames of a clip.
        size: height and width of the frames in pixels.
        stride: frames of a file from one frame of a clip to the next.
        network_width: channels of the networks.
        residual_width: channels within a residual block.
        residual_blocks: number of residual blocks on either side.
        downsamples: number of times that height and width are halved.
        time_downsamples: number of times that the number of frames is halved.
        steps: training steps.
        batch_size: clips a step.
        learning_rate: learning rate of encoder and decoder, and of the quantizer.
        warmup_steps: steps until the full learning rate.
        quantizer_weight: weight of the quantizer's losses, beside the mean squared error over the variance of the training clips.
        initialize: scale the layers to the first batch.
        quantize_after: steps before the quantizer is fitted and joins; by default it takes part from the first.
        save_every: steps between checkpoints, from which an interrupted run goes on.
    """

    width: int = 64
    frames: int = 8
    size: int = 32
    stride: int = 4
    network_width: int = 64
    residual_width: int = 32
    residual_blocks: int = 2
    downsamples: int = 2
    time_downsamples: int = 1
    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 5e-4
    warmup_steps: int = 50
    quantizer_weight: float = 1.0
    initialize: bool = True
    quantize_after: int | None = None
    save_every: int = 500

    modality = VIDEO

    @property
    def dim(self) -> int:
        """Width of the latent."""
        return self.width

    @property
    def training_code(self) -> tuple[Any, ...]:
        """Code of the training, whose changes make cached runs stale."""
        return (VideoTokenizer, ReconstructionModule, VideoDataModule, train)

    @property
    def measures(self) -> VideoMeasure:
        """Metrics and files of clips of one size."""
        return VideoMeasure(self.frames, (self.size, self.size), self.stride)

    def train(self, quantizer: Quantizer, items: Sequence[VideoItem], seed: int, folder: Path, note: Note) -> Training:
        """Train, or go on from the checkpoint in ``folder``."""
        torch.manual_seed(seed)  # the same encoder and decoder for every quantizer
        tokenizer = VideoTokenizer(
            quantizer,
            width=self.network_width,
            residual_width=self.residual_width,
            residual_blocks=self.residual_blocks,
            downsamples=self.downsamples,
            time_downsamples=self.time_downsamples,
        )
        tokenizer.initialized.fill_(not self.initialize)
        module = ReconstructionModule(
            tokenizer,
            weighted_losses(("l2", nn.MSELoss(), 1 / self._variance(items))),
            optimisation=Optimisation(learning_rate=self.learning_rate, warmup_steps=self.warmup_steps),
            phases=usual_phases(self.quantize_after, None),
            quantizer_weight=self.quantizer_weight,
        )
        return trained(
            module,
            _GivenVideos(items, self, seed),
            loss="l2",
            folder=folder,
            steps=self.steps,
            seed=seed,
            save_every=self.save_every,
            note=note,
        )

    def saved(self, folder: Path) -> VideoTokenizer:
        """The tokenizer that was trained."""
        return VideoTokenizer.from_pretrained(folder / "tokenizer")

    def _variance(self, items: Sequence[VideoItem]) -> float:
        """Variance of the pixels of (some of) the training clips."""
        some = items[:: max(1, len(items) // _VARIANCE_CLIPS)]
        clips = [middle_clip(item.path, self.frames, self.stride, (self.size, self.size)) for item in some]
        return max(1e-4, float(torch.stack(clips).var()))


class _GivenVideos(VideoDataModule):
    """The comparison's videos; nothing is validated while training."""

    def __init__(self, items: Sequence[VideoItem], settings: Backbone, seed: int) -> None:
        super().__init__(
            "",
            stride=settings.stride,
            size=(settings.frames, settings.size, settings.size),
            batch_size=settings.batch_size,
            valid_split=None,
            seed=seed,
        )
        self._given = list(items)

    def items(self, split: str | None) -> list[VideoItem]:
        """The videos given."""
        return self._given
