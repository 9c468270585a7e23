"""What may be dropped onto the page: sound and ``.vqk`` files of limited size and duration, whatever their names say."""

from dataclasses import dataclass
from pathlib import Path

import torch

from vqkit.data import AudioBlocks, Waveform

__all__ = ["Limits", "read_sound", "read_vqk"]

_MOST_CHANNELS = 8
_HIGHEST_RATE = 192_000


@dataclass(frozen=True)
class Limits:
    """What is taken.

    Attributes:
        max_megabytes: of an uploaded file; a megabyte has 2²⁰ bytes.
        max_seconds: of sound, on the way in and on the way out.

    Raises:
        ValueError: a limit that is not positive.

    Example:
        >>> Limits(max_seconds=5)
        Limits(max_megabytes=25.0, max_seconds=5)
    """

    max_megabytes: float = 25.0
    max_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, value in (("max_megabytes", self.max_megabytes), ("max_seconds", self.max_seconds)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a number above 0, got {value}")

    @property
    def max_bytes(self) -> int:
        """Of an uploaded file."""
        return max(1, int(self.max_megabytes * 2**20))

    def check_seconds(self, seconds: float) -> None:
        """Refuse what lasts too long.

        Raises:
            ValueError: it does.
        """
        if seconds > self.max_seconds:
            raise ValueError(f"the sound lasts {seconds:.1f} s; at most {self.max_seconds:g} s are taken here")


def read_sound(path: Path, limits: Limits) -> Waveform:
    """Read an uploaded sound file at its own rate, and never much more of it than the limits allow.

    Args:
        path: where it lies; errors do not repeat it.
        limits: of size and duration.

    Returns:
        The waveform.

    Raises:
        ValueError: too big, too long, empty, damaged or no sound.
    """
    _check_size(path, limits)
    try:
        return _read_blocks(path, limits)
    except ValueError as error:  # a name that someone else chose is not repeated
        raise ValueError(str(error).replace(str(path), "the file")) from None


def read_vqk(path: Path, limits: Limits) -> bytes:
    """The bytes of an uploaded ``.vqk`` file.

    Raises:
        ValueError: too big, empty, or gone.
    """
    _check_size(path, limits)
    return path.read_bytes()


def _check_size(path: Path, limits: Limits) -> None:
    if not path.is_file():
        raise ValueError("the uploaded file is gone: drop it again")
    size = path.stat().st_size
    if size == 0:
        raise ValueError("the file is empty (0 bytes)")
    if size > limits.max_bytes:
        raise ValueError(f"the file has {size / 2**20:.1f} MB; at most {limits.max_megabytes:g} MB are taken here")


def _read_blocks(path: Path, limits: Limits) -> Waveform:
    with AudioBlocks(path) as source:
        rate, channels = source.sample_rate, source.channels
        if channels > _MOST_CHANNELS or rate > _HIGHEST_RATE:
            raise ValueError(
                f"the file has {channels} channels at {rate} Hz; at most {_MOST_CHANNELS} at {_HIGHEST_RATE} are taken"
            )
        if source.num_samples is not None:
            limits.check_seconds(source.num_samples / rate)
        blocks, samples = [], 0
        for block in source:  # headers may state no length, or a wrong one
            samples += block.shape[-1]
            if samples > limits.max_seconds * rate:
                raise ValueError(f"the sound lasts more than the {limits.max_seconds:g} s that are taken here")
            blocks.append(block)
    return Waveform(torch.cat(blocks, dim=-1), rate)
