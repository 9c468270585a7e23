"""The default set of reconstruction metrics.

Conventions:
    As in :mod:`vqkit.metrics.reconstruction`. Each metric is computed on the same batch, and keyed by its name.

Metrics:
    ``snr``, ``lsd``, ``mel_distance``, ``log_mel_psnr``, ``log_mel_ssim``, ``chroma_similarity``.
"""

from typing import TYPE_CHECKING

from vqkit.metrics.chroma import ChromaSimilarity
from vqkit.metrics.logmel import LogMelPSNR, LogMelSSIM
from vqkit.metrics.lsd import LSD
from vqkit.metrics.mel_distance import MelDistance
from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.metrics.snr import SNR
from vqkit.types import need

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["reconstruction_metrics"]


def reconstruction_metrics(sample_rate: int) -> "MetricCollection":
    """The metrics that need no model, with their default parameters.

    Args:
        sample_rate: in Hz.

    Returns:
        A torchmetrics collection: ``update(estimate, reference, lengths=None)`` feeds all, ``compute()`` gives a dict
        by name, and ``collection[name].protocol`` says what each is.

    Example:
        >>> import torch
        >>> metrics, wave = reconstruction_metrics(24000), torch.ones(1, 1, 8000)
        >>> metrics.update(wave, wave)
        >>> metrics.compute()["snr"]
        tensor(100.)
    """
    metrics: list[ReconstructionMetric] = [
        SNR(),
        LSD(),
        MelDistance(sample_rate),
        LogMelPSNR(sample_rate),
        LogMelSSIM(sample_rate),
        ChromaSimilarity(sample_rate),
    ]
    # compute groups would share the state of metrics that give equal values on the first batch
    collection = need("torchmetrics", "eval").MetricCollection
    return collection({metric.name: metric for metric in metrics}, compute_groups=False)
