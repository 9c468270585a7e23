"""Making things from tokens: images from classes, and music for videos. `vqkit generate image` and `vqkit generate music`."""

from vqkit.generate.image import ImageGenerator, image_grid

__all__ = ["ImageGenerator", "image_grid"]
