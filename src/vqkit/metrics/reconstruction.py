"""The common frame of the reconstruction metrics: an estimate against its reference, clip by clip.

Conventions:
    Waveforms are ``(batch, channels, samples)`` of a float dtype, in about [−1, 1]; sample rates are in Hz.
    ``lengths`` holds the real samples of each clip; what lies beyond is not looked at, so that a padded batch gives
    exactly what its clips give one by one.
    One value per clip and channel (means over frames come first), then the mean over channels, then over clips: each
    clip weighs the same, however long. Arithmetic is in float64, results are float32.
    A clip is measured whole: memory grows with the longest clip, never with the number of clips.

Metrics:
    :class:`ReconstructionMetric` is the abstract base.
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from vqkit.metrics.clips import pairs_of_clips
from vqkit.metrics.item_mean import ItemMean
from vqkit.types import Float, Int

__all__ = ["ReconstructionMetric"]


class ReconstructionMetric(ItemMean):
    """Mean over clips of a distance or similarity between an estimate and its reference.

    A metric of this family defines :meth:`measure`, and ``min_samples`` if it needs more than one sample.

    Args:
        sample_rate: sample rate of both waveforms in Hz, or None where the value does not depend on it.

    Raises:
        TypeError: the sample rate is not an int.
        ValueError: the sample rate is not positive.
    """

    item = "clip"

    def __init__(self, sample_rate: int | None = None) -> None:
        super().__init__()
        if sample_rate is not None:
            if not isinstance(sample_rate, int) or isinstance(sample_rate, bool):
                raise TypeError(f"sample_rate must be an int in Hz, got {sample_rate!r}")
            if sample_rate < 1:
                raise ValueError(f"sample_rate must be positive (Hz), got {sample_rate}")
        self.sample_rate = sample_rate

    @abstractmethod
    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """Compare one clip, already validated.

        Args:
            estimate: reconstructed waveform, float64.
            reference: original waveform, float64.

        Returns:
            One value per channel.
        """

    @property
    def min_samples(self) -> int:
        """Shortest clip the metric can measure, in samples."""
        return 1

    def update(
        self,
        estimate: Float[Tensor, "batch channels samples"],
        reference: Float[Tensor, "batch channels samples"],
        lengths: Int[Tensor, "batch"] | Sequence[int] | None = None,
    ) -> None:
        """Add a batch of clips.

        Args:
            estimate: reconstructed waveforms.
            reference: original waveforms, of the same shape.
            lengths: real samples of each clip; None means all.

        Raises:
            TypeError: an argument is not a tensor of a float dtype, or the lengths are not ints.
            ValueError: shapes differ or are not ``(batch, channels, samples)``, a clip is too short, or a real sample
                is not finite.
        """
        clips = pairs_of_clips(self.name, self.min_samples, estimate, reference, lengths)
        with torch.no_grad():  # all values first: a batch that fails halfway leaves the stream as it was
            values = [self.measure(one.double(), other.double()).mean() for one, other in clips]
        self.add(values)
