"""The classifier that ships with vqkit, so that a KL divergence can be measured without fetching anything.

Conventions:
    Waveforms of any rate are resampled to 16 kHz (soxr, HQ); what lies above 8 kHz is not heard. Any length from a twentieth
    of a second up is taken; the posterior is the mean over windows of a second and over channels of the softmax.

Metrics:
    None: :class:`SoundClassifier` goes into :class:`vqkit.metrics.KLD`, as ``kld_vqkit_sounds``. It is small and was
    trained on two hours of sound: its divergence ranks reconstructions of one test set, and says nothing beside the
    PaSST or PANNs divergences of papers. What it was trained on and how often it is right: ``weights/MODEL_CARD.md``.
"""

import functools
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit.metrics.perceptual import resample
from vqkit.metrics.sound_network import HOP_FRAMES, HOP_SAMPLES, MODEL_RATE, WINDOW_FRAMES, SoundNetwork, log_mel
from vqkit.saved import built_from, read_shapes
from vqkit.types import Float, need

__all__ = ["SHIPPED_WEIGHTS", "SoundClassifier"]

SHIPPED_WEIGHTS = Path(__file__).parent / "weights" / "vqkit_sounds.safetensors"
_MIN_SECONDS = 0.05


class SoundClassifier:
    """Classifier of a few dozen kinds of sound: styles of music, speech, instruments, drums, animals, household.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        weights: a file that ``recipes/sound_classifier.py`` wrote; its name is the classifier's.

    Attributes:
        name: ``"vqkit_sounds"`` with the weights that ship.
        classes: the labels, in the order of the posterior.
        sample_rate: the sample rate that was given, in Hz.

    Raises:
        TypeError: the sample rate is not an int.
        ValueError: the sample rate is not positive, or the file holds no such network.

    Example:
        >>> classifier = SoundClassifier(24000)
        >>> posterior = classifier(torch.zeros(1, 24000, dtype=torch.float64))
        >>> posterior.shape == (len(classifier.classes),), "speech" in classifier.classes
        (True, True)
    """

    def __init__(self, sample_rate: int, weights: Path | str = SHIPPED_WEIGHTS) -> None:
        if not isinstance(sample_rate, int) or isinstance(sample_rate, bool):
            raise TypeError(f"sample_rate must be an int in Hz, got {sample_rate!r}")
        if sample_rate < 1:
            raise ValueError(f"sample_rate must be positive (Hz), got {sample_rate}")
        self.sample_rate = sample_rate
        self.name = Path(weights).stem
        self._network, self.classes, self._sha256 = _load(Path(weights))

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        return math.ceil(_MIN_SECONDS * self.sample_rate)

    @property
    def settings(self) -> dict[str, Any]:
        """Rates, windows and weights."""
        return {
            "sample_rate": self.sample_rate,
            "model_rate": MODEL_RATE,
            "window_seconds": WINDOW_FRAMES * HOP_SAMPLES / MODEL_RATE,
            "hop_seconds": HOP_FRAMES * HOP_SAMPLES / MODEL_RATE,
            "num_classes": len(self.classes),
            "posterior": "softmax, mean over windows and channels",
            "sha256": self._sha256,
        }

    def __call__(self, waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "classes"]:
        """Classify a clip.

        Args:
            waveform: waveform at ``sample_rate``.

        Returns:
            Probabilities, adding up to 1; on the CPU, where the network runs.
        """
        samples = torch.from_numpy(resample(waveform, self.sample_rate, MODEL_RATE)).float()
        with (
            torch.no_grad(),
            torch.autocast("cpu", enabled=False),
        ):  # the value must not depend on the caller's autocast
            return self._network.posterior(log_mel(samples))


@functools.cache
def _load(path: Path) -> tuple[SoundNetwork, tuple[str, ...], str]:
    safetensors = need("safetensors", "eval")
    read_shapes(path)  # raises on what is no whole file
    with safetensors.safe_open(path, framework="pt") as file:
        try:
            classes = tuple(map(str, json.loads((file.metadata() or {})["classes"])))
        except (KeyError, TypeError, ValueError, RecursionError):
            raise ValueError(f"{path} names no classes: it is no classifier that vqkit wrote") from None
    network = built_from(path, lambda: SoundNetwork(len(classes)))
    with path.open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    return network.eval().requires_grad_(False), classes, digest
