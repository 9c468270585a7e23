"""What was made of one file."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Coded", "Watch", "unwatched"]

Watch = Callable[[float, float | None], None]  # seconds of sound done, and the share of all that they are, if known


@dataclass(frozen=True)
class Coded:
    """A ``.vqk`` file that was written, or read.

    Attributes:
        seconds: of the sound.
        bytes: of the ``.vqk`` file.
        stages: that it holds; of a file with several rates the most.
        notes: what was changed on the way and is no fault, such as stereo mixed to mono.
        warnings: what is damaged or missing.
    """

    seconds: float
    bytes: int
    stages: int
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def kbps(self) -> float:
        """Bitrate of all bytes of the file."""
        return self.bytes * 8 / self.seconds / 1000 if self.seconds else 0.0


def unwatched(seconds: float, share: float | None) -> None:
    """Nobody looks."""
