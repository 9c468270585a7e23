"""What was made of one file."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Coded", "CodedImage", "CodedSound", "Watch", "unwatched"]

Watch = Callable[[float, float | None], None]  # seconds of sound done (0 of an image), and the share of all, if known


@dataclass(frozen=True, kw_only=True)
class Coded(ABC):
    """A ``.vqk`` file that was written, or read.

    Attributes:
        bytes: size of the ``.vqk`` file.
        stages: number of stages that it holds; of a file with several rates the most.
        notes: what was changed on the way and is no fault, such as stereo mixed to mono.
        warnings: what is damaged or missing.
    """

    bytes: int
    stages: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @abstractmethod
    def sizes(self) -> str:
        """Its extent, bytes and rate, for people."""

    @abstractmethod
    def record(self) -> dict[str, float | int | str]:
        """Extent, bytes and rate for programs."""


@dataclass(frozen=True, kw_only=True)
class CodedSound(Coded):
    """A ``.vqk`` file of sound.

    Attributes:
        seconds: duration of the sound.
        missing_seconds: silence in it, in place of what was missing or could not be decoded.
    """

    seconds: float
    missing_seconds: float = 0.0

    @property
    def kbps(self) -> float:
        """Bitrate of all bytes of the file."""
        return self.bytes * 8 / self.seconds / 1000 if self.seconds else 0.0

    def sizes(self) -> str:
        """Seconds, bytes and kbit/s."""
        return f"{self.seconds:.3f} s, {self.bytes} bytes, {self.kbps:.3f} kbit/s"

    def record(self) -> dict[str, float | int | str]:
        """``seconds``, ``bytes``, ``kbps``, and ``missing_seconds`` if there are any."""
        missing = {"missing_seconds": self.missing_seconds} if self.missing_seconds else {}
        return {"seconds": self.seconds, "bytes": self.bytes, "kbps": self.kbps, **missing}


@dataclass(frozen=True, kw_only=True)
class CodedImage(Coded):
    """A ``.vqk`` file of an image.

    Attributes:
        height: height in pixels.
        width: width in pixels.
    """

    height: int
    width: int

    @property
    def bpp(self) -> float:
        """Bits a pixel, of all bytes of the file."""
        return self.bytes * 8 / (self.height * self.width)

    def sizes(self) -> str:
        """Width × height, bytes and bits a pixel."""
        return f"{self.width}×{self.height}, {self.bytes} bytes, {self.bpp:.4f} bits a pixel"

    def record(self) -> dict[str, float | int | str]:
        """``height``, ``width``, ``bytes`` and ``bpp``."""
        return {"height": self.height, "width": self.width, "bytes": self.bytes, "bpp": self.bpp}


def unwatched(seconds: float, share: float | None) -> None:
    """Nobody looks."""
