"""The small VQ-VAE that CVQ and LooC compare quantizers with on small images."""

from dataclasses import dataclass
from typing import Any

from vqkit.compare.image_training import ImageTraining
from vqkit.models.image.backbone import ImageBackbone
from vqkit.models.image.conv_backbone import ConvBackbone

__all__ = ["Backbone"]


@dataclass(frozen=True)
class Backbone(ImageTraining):
    """`ConvBackbone`; further settings are those of `ImageTraining`.

    Args:
        network_width: channels of the networks.
        residual_width: channels within a residual block.
        residual_blocks: number of residual blocks on either side.
        downsamples: strided convolutions.
    """

    network_width: int = 128
    residual_width: int = 32
    residual_blocks: int = 2
    downsamples: int = 2

    @property
    def network_code(self) -> tuple[Any, ...]:
        """Code of the networks."""
        return (ConvBackbone,)

    def networks(self) -> ImageBackbone:
        """Encoder and decoder, at random."""
        return ConvBackbone(
            self.width,
            channels=self.channels,
            width=self.network_width,
            residual_width=self.residual_width,
            residual_blocks=self.residual_blocks,
            downsamples=self.downsamples,
        )
