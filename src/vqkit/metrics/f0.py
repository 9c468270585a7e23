"""Does the voice keep its melody? Fundamental frequency of estimate and reference, by YIN.

Conventions:
    F0 is that of :mod:`vqkit.metrics.pitch`, found in estimate and reference by themselves. A frame is voiced where there is one.
    Two frames of a silent estimate and a silent reference agree.

Metrics:
    :class:`F0Correlation`, :class:`VoicingAgreement`, higher is better.

References:
    de Cheveigné & Kawahara, YIN, 2002; Nakatani, Amano, Irino, Ishizuka & Kondo, A method for fundamental frequency
    estimation and voicing decision, Speech Communication 50, 2008 (voicing decision error, of which the agreement is what
    is left to 1).
"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from vqkit.metrics.pitch import f0_hz, pitch_samples
from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.types import Float

__all__ = ["F0Correlation", "VoicingAgreement"]

_LEAST_FRAMES = 3  # voiced in both: two points always lie on a line
_HELD = 1e-3  # standard deviation of log F0 below which a pitch is held: 1.7 cents, and what YIN itself wavers by
_QUARTER_TONE = 2 ** (1 / 24)


class _F0Metric(ReconstructionMetric):
    """Compares two tracks of F0; abstract.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        lowest_hz: lowest F0.
        highest_hz: highest F0.
        threshold: YIN's; a larger one finds more frames voiced.

    Raises:
        ValueError: the range is empty or reaches beyond a quarter of the sample rate, or the threshold is not in 0 … 1.
    """

    unit = ""
    higher_is_better = True

    def __init__(
        self, sample_rate: int, lowest_hz: float = 60.0, highest_hz: float = 500.0, threshold: float = 0.2
    ) -> None:
        super().__init__(sample_rate)
        if not 0 < lowest_hz < highest_hz <= sample_rate / 4:
            raise ValueError(
                f"the range of F0 must be within 0 … {sample_rate / 4:g} Hz, got {lowest_hz:g} … {highest_hz:g}"
            )
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be in 0 … 1, got {threshold}")
        self.rate, self.lowest_hz, self.highest_hz, self.threshold = sample_rate, lowest_hz, highest_hz, threshold

    @property
    def settings(self) -> dict[str, Any]:
        """Range, threshold and rate."""
        return {
            "sample_rate": self.rate,
            "lowest_hz": self.lowest_hz,
            "highest_hz": self.highest_hz,
            "threshold": self.threshold,
        }

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples: what one frame looks at."""
        return pitch_samples(self.rate, self.lowest_hz)

    @abstractmethod
    def compare(self, estimate: Float[Tensor, " frames"], reference: Float[Tensor, " frames"]) -> Float[Tensor, ""]:
        """Compare one channel's tracks.

        Args:
            estimate: F0 in Hz, 0 where unvoiced.
            reference: likewise.

        Returns:
            The value.
        """

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """Value of each channel.

        Args:
            estimate: reconstructed waveform.
            reference: original waveform.

        Returns:
            One value per channel.
        """
        tracks = (
            f0_hz(wave, self.rate, self.lowest_hz, self.highest_hz, self.threshold) for wave in (estimate, reference)
        )
        return torch.stack([self.compare(one, other) for one, other in zip(*tracks, strict=True)])


class F0Correlation(_F0Metric):
    """Pearson's correlation of the logarithms of F0, over the frames that are voiced in both.

    It says nothing of frames that lost their voice: :class:`VoicingAgreement` does. Fewer than three common frames give 1 where
    neither side has more, and 0 otherwise. A held pitch correlates with nothing: where either side holds it, the value is 1 if
    all frames are within a quarter tone of each other, and 0 if not.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        lowest_hz: lowest F0.
        highest_hz: highest F0.
        threshold: YIN's; a larger one finds more frames voiced.

    Raises:
        ValueError: the range is empty or reaches beyond a quarter of the sample rate, or the threshold is not in 0 … 1.

    Example:
        >>> time = torch.arange(16000) / 16000
        >>> rising = torch.sin(2 * torch.pi * (120 * time + 40 * time.square()))[None, None]
        >>> metric = F0Correlation(16000)
        >>> metric.update(0.5 * rising, rising)
        >>> metric.compute()
        tensor(1.)
    """

    name = "f0_correlation"
    description = (
        "Pearson correlation of log F0 (YIN, a frame every 10 ms) over frames voiced in estimate and reference, channel by channel; "
        "without three such frames 1 if neither side has three voiced ones, else 0; mean over channels, then over clips"
    )

    def compare(self, estimate: Float[Tensor, " frames"], reference: Float[Tensor, " frames"]) -> Float[Tensor, ""]:
        """Correlation of two tracks."""
        both = (estimate > 0) & (reference > 0)
        if int(both.sum()) < _LEAST_FRAMES:
            most = max(int((track > 0).sum()) for track in (estimate, reference))
            return reference.new_tensor(float(most < _LEAST_FRAMES))
        one, other = (track[both].log() for track in (estimate, reference))
        one_centred, other_centred = one - one.mean(), other - other.mean()
        deviations = one_centred.square().mean().sqrt(), other_centred.square().mean().sqrt()
        if min(deviations) < _HELD:
            near = (one - other).abs().exp() < _QUARTER_TONE
            return near.all().to(reference.dtype)
        return ((one_centred * other_centred).mean() / (deviations[0] * deviations[1])).clamp(-1, 1)


class VoicingAgreement(_F0Metric):
    """Share of the frames that are voiced in both or in neither: 1 − the voicing decision error.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        lowest_hz: lowest F0.
        highest_hz: highest F0.
        threshold: YIN's; a larger one finds more frames voiced.

    Raises:
        ValueError: the range is empty or reaches beyond a quarter of the sample rate, or the threshold is not in 0 … 1.

    Example:
        >>> tone = torch.sin(torch.arange(16000) / 16)[None, None]  # 159 Hz
        >>> half, metric = tone.clone(), VoicingAgreement(16000)
        >>> half[..., 8000:] = 0
        >>> metric.update(half, tone)
        >>> round(metric.compute().item(), 1)
        0.5
    """

    name = "voicing_agreement"
    description = (
        "share of frames (YIN, every 10 ms) that are voiced in estimate and reference or in neither, channel by channel; mean over "
        "channels, then over clips"
    )

    def compare(self, estimate: Float[Tensor, " frames"], reference: Float[Tensor, " frames"]) -> Float[Tensor, ""]:
        """Agreement of two tracks."""
        return ((estimate > 0) == (reference > 0)).to(reference.dtype).mean()
