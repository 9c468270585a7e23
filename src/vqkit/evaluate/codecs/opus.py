"""Opus (RFC 6716) by libopus, in Ogg (RFC 7845)."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from vqkit.evaluate.codecs.av_file import code_in_file
from vqkit.evaluate.codecs.coded import Coded
from vqkit.types import Float

__all__ = ["Opus"]

_RATES = (8000, 12000, 16000, 24000, 48000)
_LOWEST_KBPS, _HIGHEST_KBPS = 6.0, 256.0


@dataclass(frozen=True)
class Opus:
    """Opus at a variable bitrate, 20 ms a frame, highest complexity; libopus chooses mode and bandwidth.

    The bytes a clip really takes differ from the rate asked for, by a tenth or two in short clips. At the lowest rates the encoder works
    at a lower sample rate, and its filters leave the decoded sound up to 0.2 ms late, as every listener hears it.

    Args:
        kbps: 6 to 256 kbit/s.
        application: ``"voip"`` for speech or ``"audio"`` for all sound.

    Raises:
        ValueError: a rate out of range, or another application.

    Example:
        >>> import torch
        >>> coded = Opus(12).code(0.1 * torch.randn(1, 16000), 16000)
        >>> coded.wav.shape, 1000 < coded.packet_bytes < coded.file_bytes
        (torch.Size([1, 16000]), True)
    """

    kbps: float
    application: Literal["voip", "audio"] = "audio"

    family = "Opus"

    def __post_init__(self) -> None:
        if not _LOWEST_KBPS <= self.kbps <= _HIGHEST_KBPS:
            raise ValueError(f"kbps of Opus must be {_LOWEST_KBPS:g} to {_HIGHEST_KBPS:g}, got {self.kbps:g}")
        if self.application not in ("voip", "audio"):
            raise ValueError(f"application must be 'voip' or 'audio', got {self.application!r}")

    @property
    def name(self) -> str:
        """Name of the system in tables and plots."""
        return f"Opus {self.kbps:g} kbps"

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter."""
        return {"encoder": "libopus", "kbps": self.kbps, **self._options()}

    def code(self, wav: Float[Tensor, "1 samples"], sample_rate: int) -> Coded:
        """See `System.code`."""
        return code_in_file(
            wav, sample_rate, codec="libopus", container="ogg", rates=_RATES, kbps=self.kbps, options=self._options()
        )

    def _options(self) -> dict[str, str]:
        return {"application": self.application, "frame_duration": "20", "vbr": "on", "compression_level": "10"}
