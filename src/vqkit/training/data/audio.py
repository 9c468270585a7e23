"""Audio files → training batches and validation clips."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vqkit.data import (
    AudioAugmentation,
    AudioClips,
    AudioCrops,
    Clip,
    SplitError,
    collate_clips,
    list_clips,
    sample_folder,
)
from vqkit.data.unreadable import readable

__all__ = ["AudioDataModule", "ResumableLoader", "StepBatches", "split_flags"]


class StepBatches(Sampler[list[int]]):
    """Which items each step of a run reads on this rank: step s of the run takes items s·B … (s + 1)·B − 1, the ranks in turn.

    Args:
        steps: number of steps of the run.
        batch_size: B, items a step over all ranks.
        rank: rank of this process.
        world_size: how many processes.

    Raises:
        ValueError: the batch does not divide by the number of processes.

    Example:
        >>> list(StepBatches(steps=2, batch_size=4, rank=1, world_size=2))
        [[2, 3], [6, 7]]
    """

    def __init__(self, steps: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(f"batch_size must be a multiple of the {world_size} processes, got {batch_size}")
        self.steps, self.batch_size, self.rank, self.world_size = steps, batch_size, rank, world_size
        self.first_step = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // self.world_size
        for step in range(self.first_step, self.steps):
            first = step * self.batch_size + self.rank * share
            yield list(range(first, first + share))


class ResumableLoader(DataLoader[Tensor]):
    """A loader over `StepBatches` that Lightning can stop and continue at the same batch.

    Args:
        dataset: a map-style data set whose items depend on their index only.
        batches: the sampler.
        num_workers: loader processes.
    """

    def __init__(self, dataset: Dataset[Tensor], batches: StepBatches, num_workers: int) -> None:
        super().__init__(dataset, batch_sampler=batches, num_workers=num_workers, persistent_workers=num_workers > 0)
        self._delivered = 0

    def __iter__(self) -> Any:
        assert isinstance(self.batch_sampler, StepBatches)
        self._delivered = self.batch_sampler.first_step
        return self._counted(super().__iter__())

    def _counted(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        for batch in batches:
            self._delivered += 1  # not what workers have read ahead
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Batches delivered so far."""
        return {"batches": self._delivered}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after so many batches."""
        assert isinstance(self.batch_sampler, StepBatches)
        self.batch_sampler.first_step = state["batches"]


@contextmanager
def split_flags() -> Iterator[None]:
    """Let the error of a split that a data set lacks name the flags that mend it."""
    try:
        yield
    except SplitError as error:
        mended = "--data.train_split and --data.valid_split name others; null trains on all items, or validates nothing"
        if error.field == "group":
            mended = "--data.group names another; null takes all"
        raise ValueError(f"{error}: {mended}") from None


class AudioDataModule(LightningDataModule):
    """Random crops of the training split, whole clips of the validation split, at the rate and channels of the module trained.

    A step's batch depends on ``seed`` and the step only: not on the number of processes, workers or interruptions.

    Args:
        source: a folder of audio files, a manifest (.csv), one file, or ``"samples"`` for the clips that ship with vqkit.
        crop_seconds: duration of a training crop.
        batch_size: crops a step, over all processes.
        group: use this group of the manifest only.
        train_split: name of the training split; None uses all files.
        valid_split: name of the validation split; None validates nothing.
        valid_seconds: use at most the beginning of a validation clip.
        valid_clips: use at most so many validation clips, evenly spread.
        short: what to do with clips shorter than a crop: "skip" them with a warning, or "pad" them.
        num_workers: processes that read; 0 reads in the training process.
        cache_megabytes: decoded audio kept in memory, in each process that reads.
        seed: seed of the crops.
        group_shares: share of the training crops from each group of the manifest, as in `AudioCrops`; by duration by default.
        peak_db: random level of the training crops, as in `AudioCrops`.
        augment: random changes of the training crops; None makes none.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        source: str,
        *,
        crop_seconds: float = 1.0,
        batch_size: int = 8,
        group: str | None = None,
        train_split: str | None = "train",
        valid_split: str | None = "valid",
        valid_seconds: float = 10.0,
        valid_clips: int = 16,
        short: Literal["skip", "pad"] = "skip",
        num_workers: int = 0,
        cache_megabytes: float = 1024,
        seed: int = 0,
        group_shares: dict[str, float] | None = None,
        peak_db: tuple[float, float] | None = None,
        augment: AudioAugmentation | None = None,
    ) -> None:
        super().__init__()
        for name, value in {
            "crop_seconds": crop_seconds,
            "batch_size": batch_size,
            "valid_seconds": valid_seconds,
        }.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if valid_clips < 1 or num_workers < 0:
            raise ValueError(
                f"valid_clips must be at least 1 and num_workers at least 0, got {valid_clips} and {num_workers}"
            )
        self.source, self.group = source, group
        self.crop_seconds, self.batch_size, self.seed, self.short = crop_seconds, batch_size, seed, short
        self.train_split, self.valid_split = train_split, valid_split
        self.valid_seconds, self.valid_clips = valid_seconds, valid_clips
        self.num_workers, self.cache_megabytes = num_workers, cache_megabytes
        self.group_shares, self.peak_db, self.augment = group_shares, peak_db, augment

    def clips(self, split: str | None) -> list[Clip]:
        """The clips of a split; a subclass may have them from elsewhere."""
        with split_flags():
            return list_clips(sample_folder() if self.source == "samples" else self.source, split, self.group)

    def train_dataloader(self) -> ResumableLoader:
        """Crops, from the first step or the one where a run was interrupted."""
        trainer, rate, channels = self._surroundings()
        steps = int(trainer.limit_train_batches)
        crops = AudioCrops(
            self.clips(self.train_split),
            rate,
            channels,
            self.crop_seconds,
            crops_per_epoch=steps * self.batch_size,
            seed=self.seed,
            short=self.short,
            cache_megabytes=self.cache_megabytes,
            group_shares=self.group_shares,
            peak_db=self.peak_db,
            augment=self.augment,
        )
        batches = StepBatches(steps, self.batch_size, trainer.global_rank, trainer.world_size)
        return ResumableLoader(crops, batches, self.num_workers)

    def val_dataloader(self) -> Any:
        """Whole clips one at a time, the ranks in turn."""
        if self.valid_split is None:
            return []
        trainer, rate, channels = self._surroundings()
        clips = self.clips(self.valid_split)
        kept = min(self.valid_clips, len(clips))
        clips = [clips[index * len(clips) // kept] for index in range(kept)]
        whole = AudioClips(clips, rate, channels, self.valid_seconds)
        # found out now, and not when the first epoch is over
        places = [place for place, _ in readable(range(kept), lambda place: clips[place].path, whole.__getitem__)]
        dataset = AudioClips([clips[place] for place in places], rate, channels, self.valid_seconds)
        rounds = -(
            -len(dataset) // trainer.world_size
        )  # every rank has as many; the last round starts over where clips run out
        own = [(turn * trainer.world_size + trainer.global_rank) % len(dataset) for turn in range(rounds)]
        return DataLoader(dataset, sampler=own, batch_size=1, collate_fn=collate_clips)

    def _surroundings(self) -> tuple[Any, int, int]:
        module: Any = self.trainer and self.trainer.lightning_module
        return self.trainer, module.sample_rate, module.channels
