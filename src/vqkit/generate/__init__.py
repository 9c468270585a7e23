"""Making things from tokens: images of classes, and music for videos. `vqkit generate image` and `vqkit generate music`.

What needs torch is imported when it is first asked for, so that ``vqkit generate --help`` starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqkit.generate.image import ImageGenerator, image_grid
    from vqkit.generate.music import MusicGenerator

__all__ = ["ImageGenerator", "MusicGenerator", "image_grid"]

_HOMES = {"ImageGenerator": "image", "MusicGenerator": "music", "image_grid": "image"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"vqkit.generate.{_HOMES[name]}"), name)
