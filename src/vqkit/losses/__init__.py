"""Differentiable training terms."""

from vqkit.losses.adaptive_weight import adaptive_weight
from vqkit.losses.adversarial import feature_matching, hinge_discriminator, hinge_generator
from vqkit.losses.balancer import Balancer
from vqkit.losses.band_levels import BandLevels
from vqkit.losses.loudness import LoudnessDisturbance
from vqkit.losses.low_wave import LowWave
from vqkit.losses.mel import MultiScaleMel
from vqkit.losses.spectrum import CompressedSpectra
from vqkit.losses.waveform import waveform_l1
from vqkit.losses.weighted import WeightedLoss, WeightedLosses

__all__ = [
    "Balancer",
    "BandLevels",
    "CompressedSpectra",
    "LoudnessDisturbance",
    "LowWave",
    "MultiScaleMel",
    "WeightedLoss",
    "WeightedLosses",
    "adaptive_weight",
    "feature_matching",
    "hinge_discriminator",
    "hinge_generator",
    "waveform_l1",
]
