"""Structural similarity of images.

Conventions:
    The same as in :mod:`vqkit.metrics.image_reconstruction`. Windows that reach past an edge are left out, as in the paper's code.
    The value depends on the resolution: SSIM of 28² images does not compare with that of 256².

Metrics:
    :class:`ImageSSIM`, higher is better.

References:
    Wang et al., Image quality assessment: from error visibility to structural similarity, 2004, section III.
"""

from typing import Any

from torch import Tensor

from vqkit.metrics.image_reconstruction import ImageMetric
from vqkit.types import Float, need

__all__ = ["ImageSSIM"]

_KERNEL, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


class ImageSSIM(ImageMetric):
    """SSIM with the paper's 11-pixel Gaussian window, mean over windows and channels; 1 where both are equal.

    Example:
        >>> import torch
        >>> ssim, image = ImageSSIM(), torch.rand(2, 1, 28, 28)
        >>> ssim.update(image, image)
        >>> ssim.compute()
        tensor(1.)
    """

    name = "ssim"
    unit = ""
    higher_is_better = True
    description = (
        "structural similarity of pixels in [0, 1], estimates clamped, not rounded; Gaussian window, those within the "
        "image only; mean over windows and channels, then over images"
    )
    min_size = _KERNEL

    def __init__(self) -> None:
        super().__init__()
        self._ssim = need("torchmetrics.functional.image", "eval").structural_similarity_index_measure

    @property
    def settings(self) -> dict[str, Any]:
        """Window and constants."""
        return {"window": "gaussian", "size": _KERNEL, "sigma": _SIGMA, "k1": _K1, "k2": _K2}

    def measure(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch"]:
        """SSIM of each image."""
        _, similarity = self._ssim(
            estimate, reference, data_range=1.0, sigma=_SIGMA, kernel_size=_KERNEL, k1=_K1, k2=_K2,
            return_full_image=True, reduction="none",
        )  # fmt: skip
        border = _KERNEL // 2  # torchmetrics also averages windows that reach past the edges; the paper does not
        return similarity[..., border:-border, border:-border].flatten(1).mean(1)
