"""The taming-style VQGAN, from diffusers."""

from dataclasses import dataclass
from typing import Any

from vqkit.compare.image_training import ImageTraining
from vqkit.models.image.backbone import ImageBackbone
from vqkit.models.image.vqgan_backbone import VQGANBackbone

__all__ = ["Backbone"]


@dataclass(frozen=True)
class Backbone(ImageTraining):
    """`VQGANBackbone`; further settings are those of `ImageTraining`.

    Args:
        widths: channels at each scale.
        blocks: residual blocks a scale.
        norm_groups: number of groups of the group norms; as many as the first width would lose the brightness of each channel.
    """

    widths: tuple[int, ...] = (32, 32, 64, 64)
    blocks: int = 1
    norm_groups: int = 8

    @property
    def network_code(self) -> tuple[Any, ...]:
        """Code of the networks."""
        return (VQGANBackbone,)

    def networks(self) -> ImageBackbone:
        """Encoder and decoder, at random."""
        return VQGANBackbone(
            self.width,
            channels=self.channels,
            widths=self.widths,
            blocks=self.blocks,
            norm_groups=self.norm_groups,
        )
