"""VGG16's convolutions: the trunk of LPIPS and of most published perceptual losses.

References:
    Simonyan & Zisserman, "Very deep convolutional networks" (2014), arXiv:1409.1556, table 1, column D; Zhang et al. (2018),
    arXiv:1801.03924, appendix (the last ReLU of each of the five groups).
"""

from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from vqkit.nn.image_input import as_rgb, enlarged, normalised
from vqkit.nn.trunk_file import load_exactly, sha256_of
from vqkit.types import Float

__all__ = ["VGG16"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(nn.Module):
    """The network, at random; :meth:`from_file` gives it weights. Frozen and in evaluation mode always.

    Args:
        min_size: images whose shorter side is less are upsampled.

    Attributes:
        name: ``"vgg16"``, which goes into the names of metrics.

    Raises:
        ValueError: ``min_size`` is less than 16, where the last group has no pixel left.

    Example:
        >>> import torch
        >>> [tuple(layer.shape[1:]) for layer in VGG16().features(torch.rand(1, 3, 32, 32))]
        [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    """

    name = "vgg16"

    def __init__(self, *, min_size: int = 32) -> None:
        super().__init__()
        if min_size < 16:
            raise ValueError(f"min_size must be at least 16 pixels, got {min_size}")
        self.min_size, self.weights = min_size, "random"
        layers: list[nn.Module] = []
        inputs, taps = 3, []
        for group in _GROUPS:
            for outputs in group:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
                inputs = outputs
            taps.append(len(layers) - 1)
            layers.append(nn.MaxPool2d(2))
        self.taps = tuple(taps)
        self.layers = nn.ModuleList(layers[:-1])  # the last pooling gives nothing that is used
        self.requires_grad_(False).eval()

    @classmethod
    def from_file(cls, path: str | Path, *, min_size: int = 32) -> Self:
        """Load weights by torchvision's names, ``features.0.weight`` to ``features.28.bias``; a classifier in the file is left aside.

        Args:
            path: a safetensors file, for instance the ``model.safetensors`` of ``timm/vgg16.tv_in1k`` on the Hugging Face hub.
                Nothing is fetched here.
            min_size: least side of an image in pixels, as of the class.

        Raises:
            FileNotFoundError: there is no such file.
            ImportError: safetensors is not installed.
            ValueError: a name is missing in it, or a shape is not this network's.
        """
        trunk = cls(min_size=min_size)
        # a layer's place in the list is its number in torchvision's names
        load_exactly(nn.ModuleDict({"features": trunk.layers}), path, cls.__name__)
        trunk.weights = sha256_of(path)
        return trunk

    @property
    def settings(self) -> dict[str, Any]:
        """Weights (their digest) and size, JSON-able."""
        return {"weights": self.weights, "min_size": self.min_size}

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, also as part of a model in training."""
        return super().train(False)

    def features(self, images: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
        """The last activations of the five groups, of 64, 128, 256, 512 and 512 channels.

        Args:
            images: gray or RGB in [0, 1].

        Raises:
            TypeError: the images are not a tensor of a float dtype.
            ValueError: the images are not ``(batch, 1 or 3, height, width)``.
        """
        x = normalised(enlarged(as_rgb(images), self.min_size), _MEAN, _STD)
        found = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.taps:
                found.append(x)
        return tuple(found)
