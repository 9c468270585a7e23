"""Errors of pixels: mean absolute, mean squared, and the peak signal-to-noise ratio.

Conventions:
    The same as in :mod:`vqkit.metrics.image_reconstruction`; pixels in [0, 1], so the peak is 1.

Metrics:
    :class:`ImageMAE`, :class:`ImageMSE`, lower is better; :class:`ImagePSNR`, in dB, higher is better.

References:
    None needed: means of differences, and −10·log10 of one.
"""

from typing import Any

from torch import Tensor

from vqkit.metrics.image_reconstruction import ImageMetric
from vqkit.types import Float

__all__ = ["ImageMAE", "ImageMSE", "ImagePSNR"]


class ImageMAE(ImageMetric):
    """Mean absolute error of the pixels.

    Example:
        >>> import torch
        >>> mae, reference = ImageMAE(), torch.zeros(1, 3, 32, 32)
        >>> mae.update(reference + 0.25, reference)
        >>> mae.compute()
        tensor(0.2500)
    """

    name = "mae"
    unit = ""
    higher_is_better = False
    description = "mean |e − r| of pixels in [0, 1], estimates clamped; mean over images"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the metric: none."""
        return {}

    def measure(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch"]:
        """Error of each image."""
        return (estimate - reference).abs().flatten(1).mean(1)


class ImageMSE(ImageMetric):
    """Mean squared error of the pixels.

    Example:
        >>> import torch
        >>> mse, reference = ImageMSE(), torch.zeros(1, 3, 32, 32)
        >>> mse.update(reference + 0.5, reference)
        >>> mse.compute()
        tensor(0.2500)
    """

    name = "mse"
    unit = ""
    higher_is_better = False
    description = "mean (e − r)² of pixels in [0, 1], estimates clamped; mean over images"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the metric: none."""
        return {}

    def measure(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch"]:
        """Error of each image."""
        return (estimate - reference).square().flatten(1).mean(1)


class ImagePSNR(ImageMetric):
    """Peak signal-to-noise ratio in dB: −10·log10 of each image's mean squared error, at most ``cap_db``.

    The mean over images of a PSNR is not the PSNR of the mean error: it is larger, and it is the one papers state.

    Args:
        cap_db: value of a perfect reconstruction, in dB.

    Raises:
        ValueError: ``cap_db`` is not positive.

    Example:
        >>> import torch
        >>> psnr, reference = ImagePSNR(), torch.zeros(1, 1, 28, 28)
        >>> psnr.update(reference + 0.1, reference)
        >>> round(psnr.compute().item(), 3)
        20.0
    """

    name = "psnr"
    unit = "dB"
    higher_is_better = True
    description = (
        "−10·log10 of the mean squared error of pixels in [0, 1], estimates clamped, not rounded; at most cap_db; mean "
        "over images"
    )

    def __init__(self, cap_db: float = 100.0) -> None:
        super().__init__()
        if not cap_db > 0:
            raise ValueError(f"cap_db must be positive, got {cap_db}")
        self.cap_db = cap_db

    @property
    def settings(self) -> dict[str, Any]:
        """The cap."""
        return {"cap_db": self.cap_db}

    def measure(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch"]:
        """PSNR of each image, in dB."""
        error = (estimate - reference).square().flatten(1).mean(1)
        return (-10 * error.log10()).clamp_max(self.cap_db)
