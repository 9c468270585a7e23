"""The default set of metrics of reconstructed images.

Conventions:
    The same as in :mod:`vqkit.metrics.image_reconstruction`. Each metric is computed on the same batch, and keyed by its name.

Metrics:
    :func:`image_metrics`: ``psnr``, ``ssim``, ``mae``; with a perceptual distance also ``lpips_<its name>``, with an
    extractor also ``fd_<its name>``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vqkit.metrics.image_errors import ImageMAE, ImagePSNR
from vqkit.metrics.image_frechet import ImageExtractor, ImageFrechetDistance
from vqkit.metrics.image_perceptual import ImageDistance, PerceptualMetric
from vqkit.metrics.image_reconstruction import ImageMetric
from vqkit.metrics.image_ssim import ImageSSIM
from vqkit.metrics.streaming import StreamingMetric
from vqkit.types import need

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["image_metrics"]


def image_metrics(
    distance: ImageDistance | None = None, extractor: ImageExtractor | None = None, size: Sequence[int] = ()
) -> "MetricCollection":
    """Return the metrics by which image tokenizers are compared.

    Args:
        distance: a perceptual distance, for instance ``vqkit.nn.PerceptualDistance(trunk)``.
        extractor: embeds images for the Fréchet distance, for instance ``trunk = vqkit.nn.EfficientNetLite0.from_package()``.
        size: height and width of the images; metrics that need larger ones are left out: SSIM below 11 pixels. Empty leaves none out.

    Returns:
        A torchmetrics collection: ``update(estimate, reference)`` feeds all, ``compute()`` gives a dict by name, and
        ``collection[name].protocol`` describes each. The Fréchet distance needs two images before ``compute``.

    Example:
        >>> import torch
        >>> metrics, images = image_metrics(), torch.rand(2, 3, 32, 32)
        >>> metrics.update(images, images)
        >>> metrics.compute()
        {'mae': tensor(0.), 'psnr': tensor(100.), 'ssim': tensor(1.)}
    """
    pairwise: list[ImageMetric] = [ImagePSNR(), ImageSSIM(), ImageMAE()]
    metrics: list[StreamingMetric] = [metric for metric in pairwise if not size or metric.min_size <= min(size)]
    if distance is not None:
        metrics.append(PerceptualMetric(distance))
    if extractor is not None:
        metrics.append(ImageFrechetDistance(extractor))
    # compute groups would share the state of metrics that give equal values on the first batch
    collection = need("torchmetrics", "eval").MetricCollection
    return collection({metric.name: metric for metric in metrics}, compute_groups=False)
