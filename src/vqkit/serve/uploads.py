"""Reading of uploads: sound, images and ``.vqk`` files of limited size, recognized by content and not by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vqkit.data import AudioBlocks, read_image_with_notes
from vqkit.models.audio.resampling_stream import ResamplingStream
from vqkit.models.image.tiles import check_size
from vqkit.models.image.tokenizer import ImageTokenizer

__all__ = ["Limits", "Upload", "read_picture", "read_sound", "read_vqk"]

_MOST_CHANNELS = 8
_HIGHEST_RATE = 192_000
_MOST_VALUES_A_SECOND = 384_000  # stereo at the highest rate, or eight channels at 48 kHz


@dataclass(frozen=True)
class Limits:
    """Limits on the resources that a visitor of the page may use.

    Attributes:
        max_megabytes: Size of an uploaded file; a megabyte has 2²⁰ bytes.
        max_seconds: Duration of a sound, on the way in and on the way out.
        job_seconds: Time that a job may take; it is then ended.
        disk_megabytes: Size of all files of all visitors together.
        max_megapixels: Size of an image, on the way in and on the way out, in 10^6 pixels.

    Raises:
        ValueError: A limit is not positive, or the disk's is below that of one file.

    Example:
        >>> Limits(max_seconds=5)
        Limits(max_megabytes=25.0, max_seconds=5, job_seconds=120.0, disk_megabytes=1024.0, max_megapixels=4.0)
    """

    max_megabytes: float = 25.0
    max_seconds: float = 60.0
    job_seconds: float = 120.0
    disk_megabytes: float = 1024.0
    max_megapixels: float = 4.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a number above 0, got {value}")
        if self.disk_megabytes < self.max_megabytes:
            raise ValueError(
                f"disk_megabytes is {self.disk_megabytes:g}, it must be at least max_megabytes, {self.max_megabytes:g}"
            )

    @property
    def max_bytes(self) -> int:
        """Size of an uploaded file."""
        return max(1, int(self.max_megabytes * 2**20))

    @property
    def disk_bytes(self) -> int:
        """Size of all files together."""
        return int(self.disk_megabytes * 2**20)

    def check_seconds(self, seconds: float) -> None:
        """Refuse what lasts too long.

        Raises:
            ValueError: it does.
        """
        if seconds > self.max_seconds:
            raise ValueError(f"the sound lasts {seconds:.1f} s; at most {self.max_seconds:g} s are taken here")

    def check_pixels(self, height: int, width: int) -> None:
        """Refuse an image that is too large.

        Raises:
            ValueError: it is.
        """
        if height * width > self.max_megapixels * 1e6:
            raise ValueError(
                f"the image has {width} × {height} pixels; at most {self.max_megapixels:g} megapixels are taken here"
            )


@dataclass(frozen=True)
class Upload:
    """An uploaded sound or image as a model takes it.

    Attributes:
        signal: Samples at the model's rate and with its channels, or pixels in [0, 1] with its channels.
        warnings: Warnings and notes of the reader, a line each.
    """

    signal: Tensor
    warnings: tuple[str, ...]


def read_sound(path: Path, limits: Limits, sample_rate: int, channels: int) -> Upload:
    """Read an uploaded sound file at a codec's rate.

    Whatever the file expands to, no more than a second of it is in memory at its own rate and with its own channels.

    Args:
        path: path of the upload; errors do not repeat it.
        limits: limits of size and duration.
        sample_rate: sample rate of the result, in Hz.
        channels: channels of the result; another number of channels than 1 and this one is mixed to mono first.

    Returns:
        The sound, and what the reader warned of.

    Raises:
        ValueError: too big, too long, too many samples a second, empty, damaged or no sound.
    """
    _check_size(path, limits)
    try:
        with AudioBlocks(path) as source:
            wave = _resampled(source, limits, sample_rate, channels)
    except ValueError as error:  # a name that someone else chose is not repeated
        raise ValueError(_nameless(error, path)) from None
    return Upload(wave, tuple(_nameless(warning, path) for warning in source.warnings))


def read_picture(path: Path, limits: Limits, tokenizer: ImageTokenizer) -> Upload:
    """Read an uploaded image file, upright, with a tokenizer's channels.

    Args:
        path: path of the upload; errors do not repeat it.
        limits: limits of size; an image whose header says more pixels is refused before it is decoded.
        tokenizer: the tokenizer that will take it.

    Returns:
        The image, and what the reader changed or left out.

    Raises:
        ValueError: too big, empty, damaged, no image, or of a size that the tokenizer does not take.
    """
    _check_size(path, limits)
    try:
        read = read_image_with_notes(path, channels=tokenizer.channels, max_megapixels=limits.max_megapixels)
    except ValueError as error:
        raise ValueError(_nameless(error, path)) from None
    check_size(tokenizer, *read.image.shape[-2:])
    return Upload(read.image, tuple(_nameless(note, path) for note in read.notes))


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


def _resampled(source: AudioBlocks, limits: Limits, sample_rate: int, channels: int) -> Tensor:
    mixed = source.channels if source.channels in (1, channels) else 1
    stream = ResamplingStream(source.sample_rate, sample_rate, mixed)
    parts = [
        stream.push(block if mixed == len(block) else block.mean(dim=0, keepdim=True))
        for block in _limited(source, limits)
    ]
    wav = torch.cat([*parts, stream.finish()], dim=-1)
    if not wav.shape[-1]:
        raise ValueError(f"the sound is shorter than one sample at {sample_rate} Hz")
    return wav.expand(channels, -1).contiguous()


def _limited(source: AudioBlocks, limits: Limits) -> Iterator[Tensor]:
    """The blocks; what cannot be within the limits is refused before anything is decoded."""
    rate, channels = source.sample_rate, source.channels
    if channels > _MOST_CHANNELS or rate > _HIGHEST_RATE or rate * channels > _MOST_VALUES_A_SECOND:
        raise ValueError(
            f"the file has {channels} channels at {rate} Hz; at most {_MOST_CHANNELS} channels, {_HIGHEST_RATE} Hz, "
            f"and {_MOST_VALUES_A_SECOND} samples a second of all channels are taken"
        )
    if source.num_samples is not None:
        limits.check_seconds(source.num_samples / rate)
    samples = 0
    for block in source:  # headers may state no length, or a wrong one
        samples += block.shape[-1]
        if samples > limits.max_seconds * rate:
            raise ValueError(f"the sound lasts more than the {limits.max_seconds:g} s that are taken here")
        yield block


def _nameless(message: object, path: Path) -> str:
    return " ".join(str(message).replace(str(path), "the file").split())
