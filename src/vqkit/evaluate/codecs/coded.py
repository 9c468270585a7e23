"""Interface of the codecs in a rate–quality comparison, and the result that they return."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.types import Float

__all__ = ["Coded", "System", "checked_mono", "fit_length"]


@dataclass(frozen=True)
class Coded:
    """Waveform decoded by a codec, with the sizes of its code.

    Attributes:
        wav: decoded waveform, at the sample rate of the input, of its length and without the codec's delay.
        packet_bytes: size of the codec's own packets, without what a container adds: headers, page and chunk marks, checksums.
        file_bytes: size of the whole file.
        vqk: the file itself, from a codec of vqkit.
    """

    wav: Float[Tensor, "1 samples"]
    packet_bytes: int
    file_bytes: int
    vqk: bytes | None = field(default=None, repr=False)


class System(Protocol):
    """Interface of a codec at one setting; its instances are plain values that can be passed to another process.

    Attributes:
        family: name of the curve; systems of one family are one curve.
        name: name that differs from that of every other system.
        kbps: requested rate, in kbit/s.
        settings: every parameter, JSON-able.
    """

    @property
    def family(self) -> str:
        """Name of the curve that this system is a point of."""

    @property
    def name(self) -> str:
        """Name of the system in tables and plots."""

    @property
    def kbps(self) -> float:
        """Requested rate in kbit/s."""

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter."""

    def code(self, wav: Float[Tensor, "1 samples"], sample_rate: int) -> Coded:
        """Encode and decode.

        Args:
            wav: mono, in about [−1, 1].
            sample_rate: sample rate of wav, in Hz.

        Returns:
            The decoded waveform and the bytes spent.

        Raises:
            ValueError: wav is not mono, or empty.
        """


def checked_mono(wav: Float[Tensor, "1 samples"]) -> Float[Tensor, "1 samples"]:
    """The waveform in float32 on the CPU.

    Raises:
        ValueError: not mono, or empty.
    """
    if wav.ndim != 2 or wav.shape[0] != 1 or wav.shape[1] == 0:
        raise ValueError(f"wav must be mono, (1, samples), got shape {tuple(wav.shape)}")
    return wav.detach().to("cpu", torch.float32)


def fit_length(wav: Float[Tensor, "1 samples"], samples: int) -> Float[Tensor, "1 samples"]:
    """Cut at the end, or continue with zeros.

    Example:
        >>> fit_length(torch.ones(1, 2), 3)
        tensor([[1., 1., 0.]])
    """
    return functional.pad(wav[:, :samples], (0, max(0, samples - wav.shape[1])))
