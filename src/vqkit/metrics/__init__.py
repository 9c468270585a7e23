"""Measures of quality, of codebook use and of rate: validated, with units, streaming, exact over ranks.

Conventions:
    See :mod:`vqkit.metrics.streaming` (states, protocols) and :mod:`vqkit.metrics.reconstruction` (waveforms, means);
    :mod:`vqkit.metrics.image_reconstruction` (images).

Metrics:
    ``snr`` ``lsd`` ``mel_distance`` ``logmel`` ``chroma``: an estimate against its reference. ``usage``: codebooks.
    ``f0``: the melody and voicing of speech, on the pitch tracks of ``pitch``.
    ``bitrate``: measured kbit/s. ``collection``: the default sets.
    ``sisdr`` ``pesq`` ``stoi`` ``visqol`` ``dnsmos``: from well-kept packages.
    ``image_errors`` ``image_ssim`` ``image_perceptual`` ``image_frechet`` ``classifier_score``: of images, with the default
    set in ``image_collection``. ``image_coverage``: of generated images, precision, recall and the nearest training image.
    ``cross_modal`` ``temporal_alignment``: of a sound beside a video.
    ``frechet`` ``kld`` ``speaker_similarity``: with a network of your choice. ``logmel_statistics`` is an extractor that
    needs none, ``sound_classifier`` the classifier that ships; ``ast_classifier`` and ``xvector`` load published
    networks from a local folder.
"""

from vqkit.metrics.ast_classifier import ASTClassifier
from vqkit.metrics.bitrate import BitRate
from vqkit.metrics.chroma import ChromaSimilarity
from vqkit.metrics.classifier_score import ClassifierScore, ImageClassifier
from vqkit.metrics.collection import comparison_metrics, reconstruction_metrics
from vqkit.metrics.cross_modal import TwoTower
from vqkit.metrics.dnsmos import DNSMOS
from vqkit.metrics.f0 import F0Correlation, VoicingAgreement
from vqkit.metrics.frechet import Extractor, FrechetDistance
from vqkit.metrics.image_collection import image_metrics
from vqkit.metrics.image_coverage import Coverage, Nearest, coverage, nearest
from vqkit.metrics.image_errors import ImageMAE, ImageMSE, ImagePSNR
from vqkit.metrics.image_frechet import ImageExtractor, ImageFrechetDistance
from vqkit.metrics.image_perceptual import ImageDistance, PerceptualMetric
from vqkit.metrics.image_reconstruction import ImageMetric
from vqkit.metrics.image_ssim import ImageSSIM
from vqkit.metrics.kld import KLD, Classifier
from vqkit.metrics.logmel import LogMelPSNR, LogMelSSIM
from vqkit.metrics.logmel_statistics import LogMelStatistics
from vqkit.metrics.lsd import LSD
from vqkit.metrics.mel_distance import MelDistance
from vqkit.metrics.pesq import PESQ
from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.metrics.sisdr import SISDR
from vqkit.metrics.snr import SNR
from vqkit.metrics.sound_classifier import SoundClassifier
from vqkit.metrics.speaker_similarity import SpeakerEmbedder, SpeakerSimilarity
from vqkit.metrics.stoi import STOI
from vqkit.metrics.streaming import StreamingMetric
from vqkit.metrics.temporal_alignment import temporal_alignment
from vqkit.metrics.usage import CodebookUsage, UsageReport, Use
from vqkit.metrics.visqol import ViSQOL
from vqkit.metrics.xvector import XVectorEmbedder

__all__ = [
    "DNSMOS",
    "KLD",
    "LSD",
    "PESQ",
    "SISDR",
    "SNR",
    "STOI",
    "ASTClassifier",
    "BitRate",
    "ChromaSimilarity",
    "Classifier",
    "ClassifierScore",
    "CodebookUsage",
    "Coverage",
    "Extractor",
    "F0Correlation",
    "FrechetDistance",
    "ImageClassifier",
    "ImageDistance",
    "ImageExtractor",
    "ImageFrechetDistance",
    "ImageMAE",
    "ImageMSE",
    "ImageMetric",
    "ImagePSNR",
    "ImageSSIM",
    "LogMelPSNR",
    "LogMelSSIM",
    "LogMelStatistics",
    "MelDistance",
    "Nearest",
    "PerceptualMetric",
    "ReconstructionMetric",
    "SoundClassifier",
    "SpeakerEmbedder",
    "SpeakerSimilarity",
    "StreamingMetric",
    "TwoTower",
    "UsageReport",
    "Use",
    "ViSQOL",
    "VoicingAgreement",
    "XVectorEmbedder",
    "comparison_metrics",
    "coverage",
    "image_metrics",
    "nearest",
    "reconstruction_metrics",
    "temporal_alignment",
]
