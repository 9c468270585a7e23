"""Pseudo-codec that returns the original, for the ends of the scales and for the scores without a reference."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vqkit.evaluate.codecs.coded import Coded, checked_mono
from vqkit.types import Float

__all__ = ["Original"]


@dataclass(frozen=True)
class Original:
    """Pseudo-codec that returns the waveform unchanged, counted as 16 bits a sample.

    Args:
        sample_rate: sample rate in Hz, which gives the rate.
    """

    sample_rate: int

    family = "original"
    name = "original"

    @property
    def kbps(self) -> float:
        """Rate of 16-bit samples."""
        return 16 * self.sample_rate / 1000

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter."""
        return {"sample_rate": self.sample_rate, "bits": 16}

    def code(self, wav: Float[Tensor, "1 samples"], sample_rate: int) -> Coded:
        """See `System.code`."""
        wav = checked_mono(wav)
        return Coded(wav, 2 * wav.shape[1], 2 * wav.shape[1])
