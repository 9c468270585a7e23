"""Waveform tensor → audio file."""

import os
import uuid
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vqkit.types import Float, need

_CONTAINERS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".opus": "OGG", ".mp3": "MP3"}
_LOSSY = {".ogg": "VORBIS", ".opus": "OPUS", ".mp3": "MPEG_LAYER_III"}
_CHUNK_SAMPLES = 1 << 16  # libsndfile's Vorbis encoder can overflow its stack on one long write


def write_audio(
    path: str | Path, samples: Float[Tensor, "channels samples"], sample_rate: int, bits: Literal[16, 24] = 16
) -> None:
    """Write an audio file; the suffix decides the format.

    The file appears whole or not at all. The lossless formats are rounded to integers and clipped to [−1, 1): a file of as many bits
    that was read by `read_audio` at its own rate is written back bit for bit.

    Args:
        path: ends in .wav or .flac (lossless), .ogg (Vorbis), .opus or .mp3; an existing file is replaced.
        samples: ``(channels, samples)``, any float dtype, finite.
        sample_rate: in Hz; Opus and MP3 take only some rates.
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
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _CONTAINERS:
        raise ValueError(f"cannot write {path}: the suffix is {suffix!r}, allowed are {', '.join(_CONTAINERS)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    if bits not in (16, 24):
        raise ValueError(f"bits is {bits}, allowed are 16 and 24")
    data = _checked(samples, path)
    subtype = _LOSSY.get(suffix, f"PCM_{bits}")
    if suffix not in _LOSSY:
        data = _to_integers(data, bits)
    soundfile = need("soundfile", "audio")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with soundfile.SoundFile(
            str(temporary),
            "w",
            samplerate=sample_rate,
            channels=data.shape[1],
            format=_CONTAINERS[suffix],
            subtype=subtype,
        ) as file:
            for start in range(0, len(data), _CHUNK_SAMPLES):
                file.write(data[start : start + _CHUNK_SAMPLES])
        os.replace(temporary, path)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ")
        raise ValueError(f"cannot write {path} at {sample_rate} Hz with {data.shape[1]} channels: {reason}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _checked(samples: Tensor, path: Path) -> np.ndarray:
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


def _to_integers(data: np.ndarray, bits: int) -> np.ndarray:
    """Round to integers of ``bits`` bits, in the top bits of int16 or int32.

    Done here because libsndfile writes x·(2^15 − 1) and reads y / 2^15: every copy would be a little quieter.
    """
    scale = 2.0 ** (bits - 1)
    whole = np.clip(np.rint(data.astype(np.float64) * scale), -scale, scale - 1)
    return whole.astype(np.int16) if bits == 16 else whole.astype(np.int32) << 8
