"""Chroma similarity: do the same pitch classes sound at the same time?

Conventions:
    Chroma are librosa's: 12 bins from C, tuned to A = 440 Hz, Gaussian bumps weighted around octave 5, unit L2 norm per
    frequency bin, on the power of an STFT 2048/512. Energies are never negative, so unrelated sounds score well above
    0: two white noises score about 0.97, and two single tones a tritone apart about 0.

Metrics:
    :class:`ChromaSimilarity`, in [0, 1], higher is better.

References:
    Ellis, Chroma feature analysis and synthesis, 2007; McFee et al., librosa, SciPy 2015.
"""

from typing import Any

import torch
from torch import Tensor

from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.metrics.spectrum import full_scale, magnitudes, min_samples
from vqkit.types import Float, need

__all__ = ["ChromaSimilarity"]


class ChromaSimilarity(ReconstructionMetric):
    """Cosine of the 12-bin chroma vectors of estimate and reference, mean over frames.

    A frame is silent when its chroma energies sum to at most ``silence_db`` relative to a sine of amplitude 1 (about:
    the filters weigh octaves differently). Frames silent in both are skipped; a clip of only such frames counts 1. A
    vector of zeros has cosine 0 with every other.

    Args:
        sample_rate: sample rate in Hz.
        window_samples: Hann window and transform.
        hop_samples: distance of the frames.
        silence_db: level of silence in dB, below 0.

    Raises:
        ValueError: a parameter is out of range.

    Example:
        >>> import torch
        >>> time = torch.arange(24000) / 24000
        >>> tone = lambda hz: (2 * torch.pi * hz * time).sin()[None, None]
        >>> chroma = ChromaSimilarity(24000)
        >>> chroma.update(tone(880.0), tone(440.0))  # an octave apart: the same pitch class
        >>> bool(chroma.compute() > 0.99)
        True
    """

    name = "chroma_similarity"
    unit = ""
    higher_is_better = True
    description = (
        "cosine of 12-bin chroma vectors (librosa's filters on the power of a centred Hann STFT); frames silent in "
        "both are skipped, a clip of only such frames is 1; mean over frames, channels, then clips"
    )

    def __init__(
        self, sample_rate: int, window_samples: int = 2048, hop_samples: int = 512, silence_db: float = -80.0
    ) -> None:
        super().__init__(sample_rate)
        for label, value in (("window_samples", window_samples), ("hop_samples", hop_samples)):
            if value < 1:
                raise ValueError(f"{label} must be positive, got {value}")
        if not silence_db < 0:
            raise ValueError(f"silence_db must be below 0 dB, got {silence_db}")
        self.window_samples, self.hop_samples, self.silence_db = window_samples, hop_samples, silence_db
        chroma_filter_bank = need("transformers.audio_utils", "eval").chroma_filter_bank
        self._filters = torch.from_numpy(chroma_filter_bank(window_samples, 12, sample_rate))

    @property
    def settings(self) -> dict[str, Any]:
        """Filters, window, hop and level of silence."""
        return {
            "sample_rate": self.sample_rate,
            "num_chroma": 12,
            "tuning_hz": 440.0,
            "window_samples": self.window_samples,
            "hop_samples": self.hop_samples,
            "silence_db": self.silence_db,
        }

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        return min_samples(self.window_samples)

    def chroma(self, waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "channels 12 frames"]:
        """Chroma energies, a sine of amplitude 1 having energy of about 1.

        Args:
            waveform: waveform, at least ``min_samples`` samples.

        Returns:
            Energy per pitch class, C first.
        """
        power = (magnitudes(waveform, self.window_samples, self.hop_samples) / full_scale(self.window_samples)).square()
        return self._filters.to(power) @ power

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """Similarity of each channel.

        Args:
            estimate: reconstructed waveform.
            reference: original waveform.

        Returns:
            Mean over the frames that are not silent in both.
        """
        e, r = self.chroma(estimate), self.chroma(reference)
        cosine = torch.nn.functional.cosine_similarity(e, r, dim=-2, eps=1e-30)
        heard = torch.maximum(e.sum(-2), r.sum(-2)) > 10 ** (self.silence_db / 10)
        mean = (cosine * heard).sum(-1) / heard.sum(-1).clamp_min(1)
        return torch.where(heard.any(-1), mean, torch.ones_like(mean))
