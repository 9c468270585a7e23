"""`preset`: a model by the name of its sizes, as recipes name it."""

from typing import Any

from vqkit.models.bridle.bridle import Bridle
from vqkit.models.bridle.presets import preset_arguments
from vqkit.quantize import Quantizer

__all__ = ["preset"]


def preset(name: str, quantizer: Quantizer | None = None, options: dict[str, Any] | None = None) -> Bridle:
    """A `Bridle` of sizes that work.

    Args:
        name: ``"audio-tiny"``, ``"audio-small"``, ``"audio-base"``, and likewise of ``image`` and ``video``.
        quantizer: the codebooks; by default RVQ of four stages with k-means and moving averages. As published the base size revives no
            code (a tokenizer phase resets unused ones once) and averages over 100 steps; the others revive codes and average over 10.
        options: further arguments of `Bridle`, in place of the preset's.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> preset("image-tiny").grid
        (8, 8)
    """
    return Bridle(**preset_arguments(name, quantizer, options))
