"""Image files → training batches and validation images."""

from typing import Any, Literal

from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vqkit.data import MAX_MEGAPIXELS, ImageItem, Images, ShuffledImages, list_images, sample_folder
from vqkit.data.image.file import check_megapixels
from vqkit.training.data.audio import ResumableLoader, StepBatches, split_flags
from vqkit.types import Float

__all__ = ["ImageDataModule"]


class ImageDataModule(LightningDataModule):
    """Crops of the training split, the middles of the images of the validation split, with the channels of the module trained.

    A step's batch depends on ``seed`` and the step only: not on the number of processes, workers or interruptions.

    Args:
        source: what `vqkit.data.list_images` takes: a folder, a manifest, an ``.npz`` file, the files of MNIST or CIFAR-10, …; or a
            list of such, which are joined; or ``"samples"`` for the photographs that ship with vqkit.
        size: height and width of the images, or one number for both.
        batch_size: images a step, over all processes.
        crop: "random", "center" or "stretch", as in `vqkit.data.Images`.
        crop_share: smallest and largest height of a random crop as a share of the largest that fits.
        flip: mirror half of the training images left to right.
        train_split: name of the training split; None uses all images.
        valid_split: name of the validation split; None validates nothing.
        valid_images: use at most so many, evenly spread.
        num_workers: processes that read; 0 reads in the training process.
        cache_megabytes: decoded image files kept in memory, in each process that reads.
        max_megapixels: leave out an image whose header says more, before it is decoded, in 10^6 pixels.
        seed: seed of the order and the crops.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        source: str | list[str],
        *,
        size: int | tuple[int, int],
        batch_size: int = 32,
        crop: Literal["center", "random", "stretch"] = "center",
        crop_share: tuple[float, float] = (1.0, 1.0),
        flip: bool = False,
        train_split: str | None = "train",
        valid_split: str | None = "valid",
        valid_images: int = 256,
        num_workers: int = 0,
        cache_megabytes: float = 1024,
        max_megapixels: float = MAX_MEGAPIXELS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be positive, got {batch_size}")
        if valid_images < 1 or num_workers < 0:
            raise ValueError(
                f"valid_images must be at least 1 and num_workers at least 0, got {valid_images} and {num_workers}"
            )
        check_megapixels(max_megapixels)
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.crop, self.crop_share, self.flip = crop, crop_share, flip
        self.train_split, self.valid_split, self.valid_images = train_split, valid_split, valid_images
        self.num_workers, self.cache_megabytes, self.max_megapixels = num_workers, cache_megabytes, max_megapixels

    def items(self, split: str | None) -> list[ImageItem]:
        """The images of a split; a subclass may have them from elsewhere."""
        sources = [self.source] if isinstance(self.source, str) else self.source
        places = [sample_folder() if source == "samples" else source for source in sources]
        with split_flags():
            return [item for place in places for item in list_images(place, split)]

    def train_dataloader(self) -> ResumableLoader:
        """Crops, from the first step or the one where a run was interrupted."""
        trainer, channels = self._surroundings()
        steps = int(trainer.limit_train_batches)
        images = Images(
            self.items(self.train_split),
            self.size,
            channels,
            crop=self.crop,
            crop_share=self.crop_share,
            seed=self.seed,
            max_megapixels=self.max_megapixels,
            cache_megabytes=self.cache_megabytes,
        )
        batches = StepBatches(steps, self.batch_size, trainer.global_rank, trainer.world_size)
        return ResumableLoader(ShuffledImages(images, steps * self.batch_size, self.flip), batches, self.num_workers)

    def val_dataloader(self) -> Any:
        """Batches of the middles of the images, the ranks in turn."""
        if self.valid_split is None:
            return []
        trainer, channels = self._surroundings()
        items = self.items(self.valid_split)
        kept = min(self.valid_images, len(items))
        items = [items[index * len(items) // kept] for index in range(kept)]
        crop: Literal["center", "stretch"] = "stretch" if self.crop == "stretch" else "center"
        images = Images(items, self.size, channels, crop=crop, max_megapixels=self.max_megapixels)
        rounds = -(-len(images) // trainer.world_size)  # every rank has as many; what is read twice is not counted
        own = [turn * trainer.world_size + trainer.global_rank for turn in range(rounds)]
        return DataLoader(_Counted(images, own), batch_size=min(self.batch_size, 32))

    def _surroundings(self) -> tuple[Any, int]:
        module: Any = self.trainer and self.trainer.lightning_module
        return self.trainer, module.channels


class _Counted(Dataset[tuple[Float[Tensor, "channels height width"], bool]]):
    """A rank's images, and whether each counts: behind the last, the first come again."""

    def __init__(self, images: Images, own: list[int]) -> None:
        self.images, self.own = images, own

    def __len__(self) -> int:
        return len(self.own)

    def __getitem__(self, index: int) -> tuple[Tensor, bool]:
        place = self.own[index]
        image = self.images[place % len(self.images)].image
        return image, place < len(self.images)
