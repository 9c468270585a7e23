"""Results of coding one file: its size, extent, rate and warnings."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["LOUD_PEAK", "Coded", "CodedImage", "CodedSound", "CodedVideo", "Watch", "unwatched"]

LOUD_PEAK = 1.25
"""Peak beyond full scale from which on a sound is said to be too loud; less is what lossy coding and resampling do to loud sound."""

Watch = Callable[[float, float | None], None]  # seconds of sound done (0 of an image), and the share of all, if known


@dataclass(frozen=True, kw_only=True)
class Coded(ABC):
    """A ``.vqk`` file that was written, or read.

    Attributes:
        bytes: size of the ``.vqk`` file.
        stages: number of stages that a frame or cell of it has; where they have different numbers the largest.
        variable_stages: whether it may hold fewer of some frames or cells.
        notes: changes to the signal that are no fault, such as stereo mixed to mono.
        warnings: what is damaged or missing.
    """

    bytes: int
    stages: int
    variable_stages: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Duration of the signal in seconds; 0 for an image."""
        return 0.0

    @abstractmethod
    def sizes(self) -> str:
        """Describe extent, bytes and rate of the file for people."""

    @abstractmethod
    def record(self) -> dict[str, float | int | str]:
        """Return extent, bytes and rate of the file for programs."""


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
    def duration(self) -> float:
        """Duration of the sound in seconds."""
        return self.seconds

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


@dataclass(frozen=True, kw_only=True)
class CodedVideo(CodedImage):
    """A ``.vqk`` file of a video.

    Attributes:
        frames: number of frames.
        frame_rate: frames a second.
    """

    frames: int
    frame_rate: float

    @property
    def duration(self) -> float:
        """Duration of the video's frames in seconds."""
        return self.frames / self.frame_rate

    @property
    def bpp(self) -> float:
        """Bits a pixel of every frame, of all bytes of the file."""
        return super().bpp / self.frames

    @property
    def kbps(self) -> float:
        """Bitrate of all bytes of the file."""
        return self.bytes * 8 / self.duration / 1000

    def sizes(self) -> str:
        """Width × height, frames, seconds, bytes and kbit/s."""
        shape = f"{self.width}×{self.height}, {self.frames} frames, {self.duration:.3f} s"
        return f"{shape}, {self.bytes} bytes, {self.kbps:.3f} kbit/s"

    def record(self) -> dict[str, float | int | str]:
        """``height``, ``width``, ``frames``, ``frame_rate``, ``seconds``, ``bytes``, ``bpp`` and ``kbps``."""
        times = {"frames": self.frames, "frame_rate": self.frame_rate, "seconds": self.duration, "kbps": self.kbps}
        return {**super().record(), **times}


def unwatched(seconds: float, share: float | None) -> None:
    """Ignore the progress: the default where nobody watches."""
