"""Video files → training batches and validation clips."""

from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from vqkit.data.video import VideoClips, VideoItem, list_videos
from vqkit.training.data.audio import ResumableLoader, StepBatches

__all__ = ["VideoDataModule"]


class VideoDataModule(LightningDataModule):
    """Random clips of the training split, the middles of the videos of the validation split.

    A step's batch depends on ``seed`` and the step only: not on the number of processes, workers or interruptions.

    Args:
        source: a folder of videos, a manifest (.csv) or one video.
        stride: frames of a file from one frame of a clip to the next.
        size: frames, height and width of a clip; those of the `Bridle` that is trained by default.
        batch_size: clips a step, over all processes.
        train_split: name of the training split; None uses all videos.
        valid_split: name of the validation split; None validates nothing.
        valid_clips: use at most so many, evenly spread.
        num_workers: processes that read; 0 reads in the training process.
        seed: seed of the clips.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        source: str,
        *,
        stride: int = 4,
        size: tuple[int, int, int] | None = None,
        batch_size: int = 8,
        train_split: str | None = "train",
        valid_split: str | None = "valid",
        valid_clips: int = 16,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(stride, batch_size, valid_clips) < 1 or num_workers < 0:
            raise ValueError(
                f"stride, batch_size and valid_clips must be positive and num_workers at least 0, got {stride}, {batch_size}, "
                f"{valid_clips} and {num_workers}"
            )
        if size is not None and (len(size) != 3 or min(size) < 1):
            raise ValueError(f"size must be frames, height and width of at least 1, got {tuple(size)}")
        self.source, self.stride, self.batch_size, self.seed = source, stride, batch_size, seed
        self.size = size
        self.train_split, self.valid_split, self.valid_clips = train_split, valid_split, valid_clips
        self.num_workers = num_workers

    def train_dataloader(self) -> ResumableLoader:
        """Clips, from the first step or the one where a run was interrupted."""
        trainer: Any = self.trainer
        steps = int(trainer.limit_train_batches)
        items = self.items(self.train_split)
        clips = self._clips(items, length=steps * self.batch_size, crop="multi-scale", seed=self.seed)
        batches = StepBatches(steps, self.batch_size, trainer.global_rank, trainer.world_size)
        return ResumableLoader(clips, batches, self.num_workers)

    def val_dataloader(self) -> Any:
        """The middles of videos one at a time, the ranks in turn."""
        if self.valid_split is None:
            return []
        trainer: Any = self.trainer
        items = self.items(self.valid_split)
        kept = min(self.valid_clips, len(items))
        clips = self._clips([items[index * len(items) // kept] for index in range(kept)])
        rounds = -(-len(clips) // trainer.world_size)
        own = [(turn * trainer.world_size + trainer.global_rank) % len(clips) for turn in range(rounds)]
        return DataLoader(clips, sampler=own, batch_size=1)

    def _clips(self, items: list[VideoItem], **options: Any) -> VideoClips:
        module: Any = self.trainer and self.trainer.lightning_module
        if self.size is None and not hasattr(module, "bridle"):
            raise ValueError("size must be given: frames, height and width; the model that is trained takes any")
        frames, height, width = self.size or module.bridle.size
        return VideoClips(items, frames=frames, stride=self.stride, size=(height, width), **options)

    def items(self, split: str | None) -> list[VideoItem]:
        """The videos of a split."""
        return list_videos(self.source, split)
