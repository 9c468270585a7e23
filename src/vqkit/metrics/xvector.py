"""A published speaker embedder: x-vectors on WavLM.

Conventions:
    Channels are embedded one by one, each clip whole, at the rate the network was made for (16 kHz).

Metrics:
    None: :class:`XVectorEmbedder` goes into :class:`vqkit.metrics.SpeakerSimilarity`.

References:
    Chen et al., WavLM: large-scale self-supervised pre-training for full stack speech processing, 2022; Snyder et al.,
    X-vectors: robust DNN embeddings for speaker recognition, ICASSP 2018.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit.metrics.local_model import load_model, model_settings
from vqkit.metrics.perceptual import resample
from vqkit.types import Float

__all__ = ["XVectorEmbedder"]

_MIN_SECONDS = 0.5  # less says little about a voice, and does not fill the network's receptive field


class XVectorEmbedder:
    """Embeddings of transformers' ``WavLMForXVector``, loaded from a local folder.

    Args:
        folder: ``config.json``, ``preprocessor_config.json`` and ``model.safetensors``, for instance of
            ``microsoft/wavlm-base-plus-sv``. Nothing is fetched here.
        sample_rate: sample rate of the waveforms in Hz; resampled to the network's.

    Attributes:
        name: ``"wavlm_xvector"``; which weights it is, the settings say.
        sample_rate: the sample rate that was given, in Hz.
        model_rate: the network's, in Hz.

    Raises:
        FileNotFoundError: the folder or one of its files is not there.
        ImportError: the package ``transformers`` is not installed.
        ValueError: the folder holds another network, or the sample rate is not positive.
    """

    name = "wavlm_xvector"

    def __init__(self, folder: Path | str, sample_rate: int) -> None:
        if sample_rate < 1:
            raise ValueError(f"sample_rate must be positive (Hz), got {sample_rate}")
        self._model, self._features = load_model(folder, "WavLMForXVector", "Wav2Vec2FeatureExtractor")
        self.sample_rate, self.model_rate = sample_rate, int(self._features.sampling_rate)
        self._weights = model_settings(folder)

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        return math.ceil(_MIN_SECONDS * self.sample_rate)

    @property
    def settings(self) -> dict[str, Any]:
        """Rates, size and weights."""
        return {
            "sample_rate": self.sample_rate,
            "model_rate": self.model_rate,
            "dim": self._model.config.xvector_output_dim,
            **self._weights,
        }

    def __call__(self, waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "channels dim"]:
        """Embed each channel of a clip.

        Args:
            waveform: waveform at ``sample_rate``; the network runs on its device.

        Returns:
            One embedding per channel.
        """
        samples = resample(waveform, self.sample_rate, self.model_rate).astype("float32")
        model = self._model.to(waveform.device)
        with torch.no_grad(), torch.autocast(waveform.device.type, enabled=False):
            embeddings = [model(self._inputs(channel).to(waveform.device)).embeddings for channel in samples]
        return torch.cat(embeddings)

    def _inputs(self, channel: Any) -> Tensor:
        return self._features(channel, sampling_rate=self.model_rate, return_tensors="pt").input_values
