"""Waveform tensor → audio file, whole or in blocks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import numpy as np
import torch
from torch import Tensor

from vqkit.files import NewFile
from vqkit.types import Float, need

__all__ = ["WRITTEN_SUFFIXES", "AudioWriter", "write_audio"]

_CONTAINERS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3"}
WRITTEN_SUFFIXES = tuple(_CONTAINERS)
_LOSSY = {".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}
_MOST_WAV_BYTES = (1 << 32) - 4096  # its length is a number of 32 bits
_CHUNK_SAMPLES = 1 << 16  # libsndfile's Vorbis encoder can overflow its stack on one long write


class AudioWriter:
    """An audio file that is written in blocks, in constant memory; use it in a ``with``.

    The file appears under its name when it is complete; an exception inside ``with`` leaves nothing behind.

    Args:
        path: ends in .wav or .flac (lossless), .ogg (Vorbis), .opus or .mp3; an existing file is replaced, unless ``overwrite`` is False.
        sample_rate: sample rate in Hz; Opus and MP3 take only some rates.
        channels: channels of the blocks.
        bits: sample size of the lossless formats.
        overwrite: replace a file that exists.

    Raises:
        FileExistsError: the file exists, and ``overwrite`` is False.
        FileNotFoundError: the folder does not exist.
        ValueError: the suffix, the bits, or the rate and channels cannot be written.

    Example:
        >>> import tempfile, torch
        >>> from vqkit.data import audio_info
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with AudioWriter(f"{folder}/silence.flac", 16000, channels=1) as writer:
        ...         for _ in range(3):
        ...             writer.write(torch.zeros(1, 8000))
        ...     audio_info(f"{folder}/silence.flac").seconds
        1.5
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int,
        bits: Literal[16, 24] = 16,
        *,
        overwrite: bool = True,
    ) -> None:
        self._path = path = Path(path)
        self._suffix = path.suffix.lower()
        if self._suffix not in _CONTAINERS:
            raise ValueError(
                f"cannot write {path}: the suffix is {self._suffix!r}, allowed are {', '.join(_CONTAINERS)}"
            )
        if bits not in (16, 24):
            raise ValueError(f"bits is {bits}, allowed are 16 and 24")
        self._soundfile = need("soundfile", "audio")
        self._sample_rate, self._channels, self._bits = sample_rate, channels, bits
        self._samples = 0
        self._new = NewFile(path, overwrite=overwrite)
        self._disk = _Disk(self._new.file)
        # libsndfile calls `_Disk` back, and swallows what is raised there: an interrupt is raised in the main thread only
        self._thread = ThreadPoolExecutor(1)
        self._file: Any = None
        try:
            self._file = self._do(
                self._soundfile.SoundFile,
                self._disk,
                "w",
                samplerate=sample_rate,
                channels=channels,
                format=_CONTAINERS[self._suffix],
                subtype=_LOSSY.get(self._suffix, f"PCM_{bits}"),
            )
        except BaseException:
            self.discard()
            raise

    def write(self, samples: Float[Tensor, "channels samples"]) -> None:
        """Write the next samples.

        Args:
            samples: any float dtype, finite.

        Raises:
            ValueError: the shape or the values cannot be written, the disk is full, or a WAV file would be longer than its format can say.
        """
        data = checked_samples(samples, self._path)
        if data.shape[1] != self._channels:
            raise ValueError(f"cannot write {self._path}: a block has {data.shape[1]} channels, not {self._channels}")
        self._samples += len(data)
        if self._suffix == ".wav" and self._samples * self._channels * self._bits // 8 > _MOST_WAV_BYTES:
            raise ValueError(f"cannot write {self._path}: a WAV file ends at 4 GiB; .flac goes on")
        if self._suffix not in _LOSSY:
            data = to_integers(data, self._bits)
        for start in range(0, len(data), _CHUNK_SAMPLES):
            self._do(self._file.write, data[start : start + _CHUNK_SAMPLES])

    def close(self) -> None:
        """Give the file its name.

        Raises:
            FileExistsError: the file exists, and ``overwrite`` is False.
            ValueError: no samples were written, or the disk is full; nothing is left behind.
        """
        if not self._samples:
            raise ValueError(f"cannot write {self._path}: there are no samples")
        self._do(self._file.close)  # a codec writes its last blocks here
        self._thread.shutdown()
        try:
            self._new.commit()
        except FileExistsError:
            raise
        except OSError as error:
            raise self._failed(error) from None

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._file is not None and not self._file.closed:
            with suppress(Exception):
                self._do(self._file.close)
        self._thread.shutdown()
        self._new.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.discard()  # nothing, after `close`

    def _do(self, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Let libsndfile work, and raise what went wrong."""
        try:
            done = self._thread.submit(work, *args, **options).result()
        except Exception as error:
            if self._disk.error is None:
                if isinstance(error, self._soundfile.LibsndfileError):
                    raise self._refused(error) from None
                raise
        if self._disk.error is not None:
            raise self._failed(self._disk.error)
        return done

    def _failed(self, error: Exception) -> ValueError:
        return ValueError(f"cannot write {self._path}: {getattr(error, 'strerror', None) or error}")

    def _refused(self, error: Exception) -> ValueError:
        reason = str(getattr(error, "error_string", error)).removeprefix("Error : ")
        return ValueError(
            f"cannot write {self._path} at {self._sample_rate} Hz with {self._channels} channels: {reason}"
        )


class _Disk:
    """File that libsndfile writes to. It keeps the first error: libsndfile forgets those of a codec's last blocks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: Exception | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self.error = self.error or error
            return 0

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)  # writes what is in the buffer
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self.error = self.error or error
            return -1

    def tell(self) -> int:
        return self._file.tell()


def write_audio(
    path: str | Path, samples: Float[Tensor, "channels samples"], sample_rate: int, bits: Literal[16, 24] = 16
) -> None:
    """Write an audio file; the suffix decides the format.

    The file appears whole or not at all. The lossless formats are rounded to integers and clipped to [−1, 1): a file of as many bits
    that was read by `read_audio` at its own rate is written back bit for bit.

    Args:
        path: ends in .wav or .flac (lossless), .ogg (Vorbis), .opus or .mp3; an existing file is replaced.
        samples: ``(channels, samples)``, any float dtype, finite.
        sample_rate: sample rate in Hz; Opus and MP3 take only some rates.
        bits: sample size of the lossless formats.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the suffix, the shape, the values or the rate cannot be written.

    Example:
        >>> import tempfile, torch
        >>> from vqkit.data import audio_info, write_audio
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_audio(f"{folder}/silence.flac", torch.zeros(1, 8000), 16000)
        ...     audio_info(f"{folder}/silence.flac")
        AudioInfo(sample_rate=16000, channels=1, seconds=0.5)
    """
    channels = samples.shape[0] if samples.ndim == 2 and samples.shape[0] else 1  # `write` refuses what is no waveform
    with AudioWriter(path, sample_rate, channels, bits) as writer:
        writer.write(samples)


def checked_samples(samples: Tensor, path: Path | str) -> np.ndarray:
    """The samples as ``(samples, channels)`` float32."""
    if samples.ndim != 2 or 0 in samples.shape:
        raise ValueError(
            f"cannot write {path}: samples have shape {tuple(samples.shape)}, expected (channels, samples), both at least 1"
        )
    if not samples.is_floating_point():
        raise ValueError(f"cannot write {path}: samples are {samples.dtype}, expected floating point in [-1, 1]")
    if not torch.isfinite(samples).all():
        raise ValueError(f"cannot write {path}: samples hold NaN or infinite values")
    return np.ascontiguousarray(samples.detach().to("cpu", torch.float32).numpy().T)


def to_integers(data: np.ndarray, bits: int) -> np.ndarray:
    """Round to integers of ``bits`` bits, in the top bits of int16 or int32.

    Done here because libsndfile writes x·(2^15 − 1) and reads y / 2^15: every copy would be a little quieter.
    """
    scale = 2.0 ** (bits - 1)
    whole = np.clip(np.rint(data.astype(np.float64) * scale), -scale, scale - 1)
    return whole.astype(np.int16) if bits == 16 else whole.astype(np.int32) << 8
