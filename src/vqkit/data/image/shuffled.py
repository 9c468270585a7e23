"""Images without end: every epoch in a new order."""

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from vqkit.data.image.dataset import Images
from vqkit.types import Float

__all__ = ["ShuffledImages"]


class ShuffledImages(Dataset[Float[Tensor, "channels height width"]]):
    """Pixels of `Images`, epoch after epoch, each image once an epoch; item n depends on the images, the seed and n only.

    Args:
        images: images with crops of their own in every epoch, if they are random.
        length: items in all.
        flip: mirror half of the images left to right, drawn anew in every epoch.

    Raises:
        ValueError: length below 1.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from vqkit.data import list_images, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in "abc":
        ...         write_image(f"{folder}/{name}.png", torch.rand(3, 8, 8))
        ...     shuffled = ShuffledImages(Images(list_images(folder), size=8), length=7)
        ...     len(shuffled), shuffled[6].shape
        (7, torch.Size([3, 8, 8]))
    """

    def __init__(self, images: Images, length: int, flip: bool = False) -> None:
        if length < 1:
            raise ValueError(f"length is {length}, it must be at least 1")
        self.images, self.length, self.flip = images, length, flip
        self._epoch = -1
        self._order: list[int] = []
        self._mirrored: list[bool] = []

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Float[Tensor, "channels height width"]:
        if not 0 <= index < self.length:
            raise IndexError(f"item {index} of {self.length}")
        epoch, place = divmod(index, len(self.images))
        if epoch != self._epoch:
            # a key of its own: without it the numbers would be those that crop image 0
            random = np.random.default_rng(np.random.SeedSequence((self.images.seed, epoch), spawn_key=(1,)))
            self._order = random.permutation(len(self.images)).tolist()
            self._mirrored = (random.random(len(self.images)) < 0.5).tolist()
            self._epoch = epoch
        pixels = self.images.draw(self._order[place], epoch).image
        return pixels.flip(-1) if self.flip and self._mirrored[place] else pixels
