"""PatchGAN: judges an image patch by patch, as VQGAN's discriminator does.

References:
    Isola et al., "Image-to-image translation with conditional adversarial networks" (2017), arXiv:1611.07004, section 3.2.2 and
    appendix 6.1.2 (the 70 × 70 PatchGAN); Esser et al., "Taming transformers" (2021), arXiv:2012.09841, section 3.1.
"""

from torch import Tensor, nn

from vqkit.nn.stft_discriminator import Judgement
from vqkit.types import Float

__all__ = ["PatchDiscriminator"]


class PatchDiscriminator(nn.Module):
    """Convolutions of stride 2, two of stride 1, and a score for each patch; three strided ones make patches of 70 × 70 pixels.

    Published ones normalise over the batch. That ties an image's score to what else is in the batch, differs between ranks and fails in
    small batches; here GroupNorm normalises each image by itself, so that ranks and batch sizes do not matter.

    Args:
        image_channels: 1 (gray) or 3 (RGB).
        width: channels of the first layer; doubled by each layer up to 8 times.
        num_layers: strided layers.
        norm_groups: groups of GroupNorm; a divisor of the width.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> judgement = PatchDiscriminator(width=8)(torch.randn(2, 3, 64, 64))
        >>> judgement.scores[0].shape, len(judgement.features[0])
        (torch.Size([2, 1, 6, 6]), 4)
    """

    def __init__(self, *, image_channels: int = 3, width: int = 64, num_layers: int = 3, norm_groups: int = 8) -> None:
        super().__init__()
        if image_channels < 1 or width < 1 or num_layers < 1:
            raise ValueError(
                "image_channels, width and num_layers must be at least 1, got "
                f"{image_channels}, {width} and {num_layers}"
            )
        if norm_groups < 1 or width % norm_groups:
            raise ValueError(f"norm_groups must be a divisor of the width {width}, got {norm_groups}")
        self.image_channels, self.min_size = image_channels, 3 * 2**num_layers
        layers, channels = [nn.Sequential(_conv(image_channels, width, stride=2))], width
        for i in range(1, num_layers + 1):
            wider = width * min(2**i, 8)
            strided = _conv(channels, wider, stride=2 if i < num_layers else 1)
            layers.append(nn.Sequential(strided, nn.GroupNorm(norm_groups, wider)))
            channels = wider
        self.layers = nn.ModuleList(layers)
        self.score = _conv(channels, 1, stride=1)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Judgement:
        """Judge images.

        Args:
            images: images in [−1, 1] or [0, 1], the same in training and use.

        Returns:
            One part: scores ``(batch, 1, rows, columns)``, a patch each, and the activations of the layers before.

        Raises:
            ValueError: the images have another number of channels, or are too small for one patch.
        """
        if images.ndim != 4 or images.shape[1] != self.image_channels or min(images.shape[2:]) < self.min_size:
            raise ValueError(
                f"images must be (batch, {self.image_channels}, height, width) of at least {self.min_size} pixels a side, "
                f"got {tuple(images.shape)}"
            )
        features, x = [], images
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), 0.2)
            features.append(x)
        return Judgement([self.score(x)], [features])


def _conv(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 4, stride, padding=1)
    nn.init.normal_(conv.weight, std=0.02)  # as Isola et al. start it
    return conv
