"""A sound through a codec and back, with all that the page shows of it; and a ``.vqk`` file back to sound.

upload ─ codec's rate and channels ─┬─ compress ─ .vqk ─┬─ decompress ─ reconstruction
                                    └─ the original     └─ codes ─ pictures
"""

import io
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from vqkit.bitstream import VqkReader
from vqkit.data import Waveform
from vqkit.metrics import SISDR, CodebookUsage, MelDistance
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.models.identity import weight_hash
from vqkit.models.vqk_files import open_reader
from vqkit.report.spectrogram import draw_spectrogram, mel_power_db
from vqkit.serve.pictures import DPI, WIDTH_INCHES, codes_png, usage_png
from vqkit.serve.uploads import Limits, read_sound, read_vqk

__all__ = ["Numbers", "Restored", "Transcoded", "restore", "transcode"]

_MOST_COUNTED = 1 << 20  # codes of an alphabet that `CodebookUsage` counts one by one


@dataclass(frozen=True)
class Numbers:
    """What was measured.

    Attributes:
        seconds: of the reconstruction.
        vqk_bytes: of the whole file.
        kbps: of all bytes of the file.
        nominal_kbps: of the stages that were kept, before entropy coding; None of a restored file.
        stages: that were kept.
        frames: of the codes.
        encode_seconds: to compress; None of a restored file.
        decode_seconds: to decompress.
        mel_distance: of the reconstruction, at the codec's rate; None where the sound is too short, or restored.
        si_sdr_db: likewise.
    """

    seconds: float
    vqk_bytes: int
    kbps: float
    nominal_kbps: float | None
    stages: int
    frames: int
    encode_seconds: float | None
    decode_seconds: float
    mel_distance: float | None
    si_sdr_db: float | None


@dataclass(frozen=True)
class Transcoded:
    """A sound, and what a codec made of it.

    Attributes:
        original: as the codec was given it, at its rate and with its channels.
        reconstruction: likewise.
        vqk: the file between them.
        warnings: what the reader warned of, a line each.
        numbers: see `Numbers`.
        original_png: spectrogram of what the codec was given.
        reconstruction_png: of what came back, in the same range of dB.
        codes_png: codes over time.
        usage_png: use of the codebooks; None where an alphabet is too large to be counted.
    """

    original: Waveform
    reconstruction: Waveform
    vqk: bytes
    warnings: tuple[str, ...]
    numbers: Numbers
    original_png: bytes
    reconstruction_png: bytes
    codes_png: bytes
    usage_png: bytes | None


@dataclass(frozen=True)
class Restored:
    """The sound of a ``.vqk`` file.

    Attributes:
        model: name of the codec that decoded it.
        reconstruction: at its rate.
        numbers: see `Numbers`.
        warnings: what is damaged, a line each.
        reconstruction_png: spectrogram.
        codes_png: codes over time.
        usage_png: as in `Transcoded`.
    """

    model: str
    reconstruction: Waveform
    numbers: Numbers
    warnings: tuple[str, ...]
    reconstruction_png: bytes
    codes_png: bytes
    usage_png: bytes | None


def transcode(
    source: Path, codec: WaveformCodec, kbps: float | None = None, limits: Limits | None = None
) -> Transcoded:
    """Encode a sound file, decode it, and measure what happened.

    Args:
        source: the file.
        codec: in evaluation mode.
        kbps: keep as many stages as fit into this rate; all by default.
        limits: of size and duration; the usual ones by default.

    Returns:
        `Transcoded`.

    Raises:
        ValueError: too big, too long, empty, damaged or no sound; or kbps below the first stage.

    Example:
        >>> from vqkit import RVQ
        >>> from vqkit.data import sample_folder
        >>> from vqkit.models import SpectralCodec
        >>> codec = SpectralCodec(RVQ(16, 64, 4), encoder_width=16, decoder_width=16).eval()
        >>> made = transcode(sample_folder() / "music/stereo/test/freedoom_countd.flac", codec, kbps=0.6)
        >>> made.numbers.stages, made.numbers.frames, made.original.sample_rate, made.reconstruction.sample_rate
        (2, 100, 16000, 16000)
    """
    sound = read_sound(source, limits or Limits(), codec.sample_rate, codec.channels)
    reference = sound.wave.samples
    begin = time.perf_counter()
    vqk = codec.compress(reference, codec.sample_rate, kbps)
    middle = time.perf_counter()
    wav, sample_rate = codec.decompress(vqk)
    end = time.perf_counter()
    drawn = _codes(codec, vqk)
    numbers = Numbers(
        seconds=wav.shape[-1] / sample_rate,
        vqk_bytes=len(vqk),
        kbps=len(vqk) * 8 * sample_rate / wav.shape[-1] / 1000,
        nominal_kbps=codec.rates_kbps[drawn.stages - 1],
        stages=drawn.stages,
        frames=drawn.frames,
        encode_seconds=middle - begin,
        decode_seconds=end - middle,
        mel_distance=_measured(MelDistance(sample_rate), wav, reference),
        si_sdr_db=_measured(SISDR(), wav, reference),
    )
    peak_db = float(mel_power_db(reference.T.numpy(), sample_rate).max())
    pictures = (_spectrogram(reference, sample_rate, peak_db), _spectrogram(wav, sample_rate, peak_db))
    return Transcoded(
        sound.wave,
        Waveform(wav, sample_rate),
        vqk,
        sound.warnings,
        numbers,
        *pictures,
        drawn.picture,
        drawn.usage,
    )


def restore(source: Path, codecs: Mapping[str, WaveformCodec], limits: Limits | None = None) -> Restored:
    """Decode a ``.vqk`` file with the codec that wrote it.

    Args:
        source: the file.
        codecs: by name; the one with the file's weights is taken.
        limits: of size and duration; the usual ones by default.

    Returns:
        `Restored`.

    Raises:
        ValueError: too big, too long, empty, not a vqk file, damaged beyond use, or written by a codec that is not there.
    """
    limits = limits or Limits()
    vqk = read_vqk(source, limits)
    name, codec = _writer_of(vqk, codecs)
    with open_reader(codec, io.BytesIO(vqk)) as reader:
        limits.check_seconds(reader.frames / codec.frame_rate)
        fitting = codec.quantizer.code_sizes[: len(reader.header.code_sizes)]
        if tuple(fitting) != reader.header.code_sizes or reader.header.hop_samples != codec.hop_samples:
            raise ValueError(f"the file claims to be of {name}, but its codes do not fit")
        if not reader.frames or bool((reader.read() < 0).all()):
            raise ValueError("nothing of the file's sound is left: it is cut short or damaged")
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wav, sample_rate = codec.decompress(vqk)
    seconds = time.perf_counter() - begin
    drawn = _codes(codec, vqk)
    numbers = Numbers(
        seconds=wav.shape[-1] / sample_rate,
        vqk_bytes=len(vqk),
        kbps=len(vqk) * 8 * sample_rate / wav.shape[-1] / 1000,
        nominal_kbps=None,
        stages=drawn.stages,
        frames=drawn.frames,
        encode_seconds=None,
        decode_seconds=seconds,
        mel_distance=None,
        si_sdr_db=None,
    )
    notes = tuple(str(warning.message) for warning in caught)
    picture = _spectrogram(wav, sample_rate, None)
    return Restored(name, Waveform(wav, sample_rate), numbers, notes, picture, drawn.picture, drawn.usage)


@dataclass(frozen=True)
class _Codes:
    stages: int
    frames: int
    picture: bytes
    usage: bytes | None


def _codes(codec: WaveformCodec, vqk: bytes) -> _Codes:
    with open_reader(codec, io.BytesIO(vqk)) as reader:
        header, codes = reader.header, reader.read()
    picture = codes_png(
        codes.T.numpy(), header.code_sizes, header.codes_per_stage, len(codes) * codec.hop_samples / codec.sample_rate
    )
    usage = None
    if max(header.code_sizes) <= _MOST_COUNTED:
        counted = CodebookUsage(header.code_sizes, header.codes_per_stage)
        counted.update(codes)
        usage = usage_png(counted.compute(), header.codes_per_stage)
    return _Codes(header.num_stages, len(codes), picture, usage)


def _writer_of(vqk: bytes, codecs: Mapping[str, WaveformCodec]) -> tuple[str, WaveformCodec]:
    with VqkReader(io.BytesIO(vqk)) as reader:
        header = reader.header
    hashes = {name: weight_hash(codec) for name, codec in codecs.items()}
    for name, found in hashes.items():
        if found == header.model_hash:
            return name, codecs[name]
    here = ", ".join(f"{name} ({found[:8]})" for name, found in hashes.items())
    writer = f"{header.model or 'a model'} with weights {header.model_hash[:8] or 'unstated'}"
    raise ValueError(f"the file was written by {writer}, which is not loaded here; loaded: {here}")


def _measured(metric: MelDistance | SISDR, wav: Tensor, reference: Tensor) -> float | None:
    if wav.shape[-1] < metric.min_samples:
        return None
    metric.update(wav[None], reference[None])
    return float(metric.compute())


def _spectrogram(wav: Tensor, sample_rate: int, peak_db: float | None) -> bytes:
    return draw_spectrogram(np.asarray(wav.T), sample_rate, peak_db, width_inches=WIDTH_INCHES, dpi=DPI)
