"""Measured bitrate.

Conventions:
    kbit/s are 1000 bits a second. Bytes are those of the whole file, headers and side information included.

Metrics:
    :class:`BitRate` in kbit/s.

References:
    None needed.
"""

import math
from typing import Any

import torch
from torch import Tensor

from vqkit.metrics.streaming import StreamingMetric
from vqkit.types import Float

__all__ = ["BitRate"]


class BitRate(StreamingMetric):
    """Measured bitrate in kbit/s: all bits over all seconds, so that a long file weighs more than a short one.

    Example:
        >>> rate = BitRate()
        >>> rate.update(num_bytes=1500, seconds=4.0)
        >>> rate.compute()
        tensor(3.)
    """

    name = "bitrate_kbps"
    unit = "kbit/s"
    higher_is_better = None
    description = "8 × sum of bytes / sum of seconds / 1000, over all files, headers included"

    bitrate_bytes: Tensor
    bitrate_seconds: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("bitrate_bytes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("bitrate_seconds", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the metric: none."""
        return {}

    def update(self, num_bytes: int, seconds: float) -> None:
        """Add a file.

        Args:
            num_bytes: size of the file in bytes.
            seconds: duration of the signal in seconds.

        Raises:
            TypeError: the size is not an int.
            ValueError: the size is negative, or the duration not positive and finite.
        """
        if not isinstance(num_bytes, int) or isinstance(num_bytes, bool):
            raise TypeError(f"num_bytes must be an int, got {num_bytes!r}")
        if num_bytes < 0:
            raise ValueError(f"num_bytes must not be negative, got {num_bytes}")
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"seconds must be positive and finite, got {seconds}")
        self.bitrate_bytes = self.bitrate_bytes + num_bytes
        self.bitrate_seconds = self.bitrate_seconds + seconds

    def compute(self) -> Float[Tensor, ""]:
        """Bits over seconds, of all ranks.

        Returns:
            Scalar in kbit/s, float32.

        Raises:
            ValueError: there has been no file.
        """
        if self.bitrate_seconds == 0:
            raise ValueError(f"{self.name} has seen no file: call update before compute")
        return (8 * self.bitrate_bytes / self.bitrate_seconds / 1000).float()
