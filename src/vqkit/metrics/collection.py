"""The default sets of metrics of reconstructed sound.

Conventions:
    The same as in :mod:`vqkit.metrics.reconstruction`. Each metric is computed on the same batch, and keyed by its name.

Metrics:
    :func:`reconstruction_metrics`: ``snr``, ``lsd``, ``mel_distance``, ``log_mel_psnr``, ``log_mel_ssim``,
    ``chroma_similarity``. :func:`comparison_metrics`: these, ``si_sdr``, ``kld_vqkit_sounds`` and ``fd_logmel``.
"""

from typing import TYPE_CHECKING

from vqkit.metrics.chroma import ChromaSimilarity
from vqkit.metrics.frechet import FrechetDistance
from vqkit.metrics.kld import KLD
from vqkit.metrics.logmel import LogMelPSNR, LogMelSSIM
from vqkit.metrics.logmel_statistics import LogMelStatistics
from vqkit.metrics.lsd import LSD
from vqkit.metrics.mel_distance import MelDistance
from vqkit.metrics.sisdr import SISDR
from vqkit.metrics.snr import SNR
from vqkit.metrics.streaming import StreamingMetric
from vqkit.types import need

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["comparison_metrics", "reconstruction_metrics"]


def reconstruction_metrics(sample_rate: int) -> "MetricCollection":
    """The metrics that need no model, with their default parameters.

    Args:
        sample_rate: sample rate in Hz.

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
    return _collection(_without_model(sample_rate))


def comparison_metrics(sample_rate: int) -> "MetricCollection":
    """Return the metrics by which codecs are compared: also independent of gain, by a classifier's posteriors, and over the full set.

    Args:
        sample_rate: sample rate in Hz.

    Returns:
        :func:`reconstruction_metrics`, SI-SDR, KL divergence of the classifier that ships, and the Fréchet distance of
        log-mel statistics. The last needs two windows of a second (see :class:`vqkit.metrics.LogMelStatistics`) before
        ``compute``, and with fewer than some hundreds of them compares only on the same clips.

    Example:
        >>> import torch
        >>> metrics, wave = comparison_metrics(24000), torch.rand(2, 1, 24000)
        >>> metrics.update(wave, wave)
        >>> values = metrics.compute()
        >>> values["kld_vqkit_sounds"], values["si_sdr"]
        (tensor(0.), tensor(100.))
    """
    more: list[StreamingMetric] = [
        SISDR(),
        KLD(sample_rate=sample_rate),
        FrechetDistance(LogMelStatistics(sample_rate)),
    ]
    return _collection([*_without_model(sample_rate), *more])


def _without_model(sample_rate: int) -> list[StreamingMetric]:
    return [
        SNR(),
        LSD(),
        MelDistance(sample_rate),
        LogMelPSNR(sample_rate),
        LogMelSSIM(sample_rate),
        ChromaSimilarity(sample_rate),
    ]


def _collection(metrics: list[StreamingMetric]) -> "MetricCollection":
    # compute groups would share the state of metrics that give equal values on the first batch
    collection = need("torchmetrics", "eval").MetricCollection
    return collection({metric.name: metric for metric in metrics}, compute_groups=False)
