"""The TiTok-like vision transformer of the IVQ paper: an image becomes a row of tokens."""

from dataclasses import dataclass
from typing import Any

from vqkit.compare.image_training import ImageTraining
from vqkit.models.image.backbone import ImageBackbone
from vqkit.models.image.vit_backbone import ViTBackbone

__all__ = ["Backbone"]


@dataclass(frozen=True)
class Backbone(ImageTraining):
    """`ViTBackbone`; further settings are those of `ImageTraining`.

    Args:
        patch: side of a patch in pixels.
        tokens: number of tokens of an image.
        network_width: width of the transformers.
        depth: layers on either side.
        heads: number of heads of the attention.
    """

    patch: int = 8
    tokens: int = 64
    network_width: int = 192
    depth: int = 4
    heads: int = 4

    @property
    def network_code(self) -> tuple[Any, ...]:
        """Code of the networks."""
        return (ViTBackbone,)

    def networks(self) -> ImageBackbone:
        """Encoder and decoder, at random."""
        return ViTBackbone(
            self.width,
            image_size=self.size,
            patch=self.patch,
            tokens=self.tokens,
            width=self.network_width,
            depth=self.depth,
            heads=self.heads,
            channels=self.channels,
        )
