"""A published classifier of AudioSet's 527 classes for the KL divergence: the Audio Spectrogram Transformer.

Conventions:
    The network was trained with a sigmoid a class, and a divergence needs probabilities that add up to 1. They are the
    softmax of the logits, not sigmoids divided by their sum, because that is what AudioCraft computes with PaSST.
    Channels are judged one by one. A clip longer than the network's window is cut into as few windows as cover it.

Metrics:
    None: :class:`ASTClassifier` goes into :class:`vqkit.metrics.KLD`, as ``kld_ast``.

References:
    Gong, Chung & Glass, AST: Audio Spectrogram Transformer, Interspeech 2021; Copet et al., MusicGen, 2023 (softmax of
    PaSST, in AudioCraft's code).
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit.metrics.local_model import load_model, model_settings
from vqkit.metrics.perceptual import resample
from vqkit.metrics.windows import window_starts
from vqkit.types import Float

__all__ = ["ASTClassifier"]

_MIN_SECONDS = 0.1
_FRAME_SAMPLES, _HOP_SAMPLES = 400, 160  # of the extractor's filter bank, which does not state them


class ASTClassifier:
    """Posteriors of transformers' ``ASTForAudioClassification``, loaded from a local folder.

    Args:
        folder: what a download of ``MIT/ast-finetuned-audioset-10-10-0.4593`` holds: ``config.json``,
            ``preprocessor_config.json``, ``model.safetensors``. Nothing is fetched here.
        sample_rate: sample rate of the waveforms in Hz; resampled to the network's.

    Attributes:
        name: ``"ast"``; which weights it is, the settings say.
        sample_rate: the sample rate that was given, in Hz.
        model_rate: the network's, in Hz.

    Raises:
        FileNotFoundError: the folder or one of its files is not there.
        ImportError: the package ``transformers`` is not installed.
        ValueError: the folder holds another network, or the sample rate is not positive.
    """

    name = "ast"

    def __init__(self, folder: Path | str, sample_rate: int) -> None:
        if sample_rate < 1:
            raise ValueError(f"sample_rate must be positive (Hz), got {sample_rate}")
        self._model, self._features = load_model(folder, "ASTForAudioClassification", "ASTFeatureExtractor")
        self.sample_rate, self.model_rate = sample_rate, int(self._features.sampling_rate)
        self._window = (self._features.max_length - 1) * _HOP_SAMPLES + _FRAME_SAMPLES
        self._weights = model_settings(folder)

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        return math.ceil(_MIN_SECONDS * self.sample_rate)

    @property
    def settings(self) -> dict[str, Any]:
        """Rates, window and weights."""
        return {
            "sample_rate": self.sample_rate,
            "model_rate": self.model_rate,
            "window_seconds": self._window / self.model_rate,
            "num_classes": self._model.config.num_labels,
            "posterior": "softmax, mean over windows and channels",
            **self._weights,
        }

    def __call__(self, waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "classes"]:
        """Classify a clip.

        Args:
            waveform: waveform at ``sample_rate``; the network runs on its device.

        Returns:
            Probabilities, adding up to 1.
        """
        samples = resample(waveform, self.sample_rate, self.model_rate).astype("float32")
        starts = window_starts(samples.shape[1], self._window, self._window)
        windows = [channel[start : start + self._window] for channel in samples for start in starts]
        model = self._model.to(waveform.device)
        total = torch.zeros(model.config.num_labels, device=waveform.device)
        with torch.no_grad(), torch.autocast(waveform.device.type, enabled=False):
            for window in windows:  # one by one: a long clip needs no more memory than a short one
                inputs = self._features(window, sampling_rate=self.model_rate, return_tensors="pt")
                total += model(inputs.input_values.to(waveform.device)).logits[0].softmax(-1)
        return total / len(windows)
