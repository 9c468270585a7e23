"""MP3 (ISO 11172-3, 13818-3) by LAME."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vqkit.evaluate.codecs.av_file import code_in_file
from vqkit.evaluate.codecs.coded import Coded
from vqkit.types import Float

__all__ = ["MP3"]

_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_KBPS_ABOVE_24_KHZ = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


@dataclass(frozen=True)
class MP3:
    """MP3 at a constant bitrate with LAME's best search, bit reservoir on; LAME chooses the low-pass.

    Args:
        kbps: 8, 16, 24, 32 … 160 kbit/s for sound up to 24 kHz; above that MP3 begins at 32.

    Raises:
        ValueError: a rate that MP3 does not have.

    Example:
        >>> import torch
        >>> coded = MP3(16).code(0.1 * torch.randn(1, 16000), 16000)
        >>> coded.wav.shape, 2000 < coded.packet_bytes < coded.file_bytes
        (torch.Size([1, 16000]), True)
    """

    kbps: float

    family = "MP3"

    def __post_init__(self) -> None:
        if self.kbps not in _KBPS:
            raise ValueError(f"kbps of MP3 must be one of {', '.join(map(str, _KBPS))}, got {self.kbps:g}")

    @property
    def name(self) -> str:
        """Name of the system in tables and plots."""
        return f"MP3 {self.kbps:g} kbps"

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter."""
        return {"encoder": "libmp3lame", "kbps": self.kbps, "bitrate": "constant", **self._options()}

    def code(self, wav: Float[Tensor, "1 samples"], sample_rate: int) -> Coded:
        """See `System.code`; also a ValueError for a rate that MP3 does not have at this sample rate."""
        if sample_rate > 24000 and self.kbps not in _KBPS_ABOVE_24_KHZ:
            raise ValueError(
                f"kbps of MP3 above 24 kHz must be one of {', '.join(map(str, _KBPS_ABOVE_24_KHZ))}, got {self.kbps:g}"
            )
        return code_in_file(
            wav, sample_rate, codec="libmp3lame", container="mp3", rates=_RATES, kbps=self.kbps, options=self._options()
        )

    def _options(self) -> dict[str, str]:
        return {"compression_level": "0", "reservoir": "1"}
