"""What the page does with a file, in the process for jobs: files and pieces of HTML, ready to be shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vqkit.data import Waveform, write_audio
from vqkit.files import write_whole
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.serve.fragments import notes_list, numbers_table, restored_figures, transcoded_figures
from vqkit.serve.transcode import restore, transcode
from vqkit.serve.uploads import Limits

__all__ = ["Decoded", "Encoded", "decode_job", "encode_job", "result_bytes"]

_HEADER_BYTES = 4096
_BYTES_A_SAMPLE = 2


@dataclass(frozen=True)
class Encoded:
    """A sound through a codec and back.

    Attributes:
        notes: HTML: what is wrong with the file.
        numbers: HTML: the table of numbers.
        original: WAV, at the codec's rate.
        reconstruction: WAV, likewise.
        vqk: The ``.vqk`` file.
        figures: HTML: the pictures.
    """

    notes: str
    numbers: str
    original: Path
    reconstruction: Path
    vqk: Path
    figures: str


@dataclass(frozen=True)
class Decoded:
    """The sound of a ``.vqk`` file.

    Attributes:
        notes: HTML: who wrote the file, and what is damaged.
        numbers: HTML: the table of numbers.
        sound: WAV.
        figures: HTML: the pictures.
    """

    notes: str
    numbers: str
    sound: Path
    figures: str


def encode_job(
    codecs: Mapping[str, WaveformCodec], source: Path, folder: Path, name: str, stages: int, limits: Limits
) -> Encoded:
    """Encode an uploaded sound, and decode it.

    Args:
        codecs: By name.
        source: The upload.
        folder: For the files that are made.
        name: Of the codec.
        stages: How many of the codec's stages to keep.
        limits: Of size and duration.

    Raises:
        ValueError: As in `transcode`, or there is no such codec or no such number of stages.
    """
    codec = codecs.get(name)
    if codec is None:
        raise ValueError(f"there is no model {name!r} here; there are {', '.join(codecs)}")
    rates = codec.rates_kbps
    if not isinstance(stages, int) or not 1 <= stages <= len(rates):
        raise ValueError(f"the number of stages is {stages}, {name} has 1 … {len(rates)}")
    made = transcode(source, codec, rates[stages - 1], limits)
    vqk = folder / "sound.vqk"
    write_whole(vqk, made.vqk)
    return Encoded(
        notes=notes_list("", made.warnings),
        numbers=numbers_table(made.numbers),
        original=_wav(folder / "original.wav", made.original),
        reconstruction=_wav(folder / "reconstruction.wav", made.reconstruction),
        vqk=vqk,
        figures=transcoded_figures(made),
    )


def decode_job(codecs: Mapping[str, WaveformCodec], source: Path, folder: Path, limits: Limits) -> Decoded:
    """Decode an uploaded ``.vqk`` file.

    Args:
        codecs: By name; the one with the file's weights is taken.
        source: The upload.
        folder: For the file that is made.
        limits: Of size and duration.

    Raises:
        ValueError: As in `restore`.
    """
    made = restore(source, codecs, limits)
    return Decoded(
        notes=notes_list(f"Written by {made.model}.", tuple(f"Damaged: {line}" for line in made.warnings)),
        numbers=numbers_table(made.numbers),
        sound=_wav(folder / "sound.wav", made.reconstruction),
        figures=restored_figures(made),
    )


def result_bytes(codecs: Mapping[str, WaveformCodec], limits: Limits) -> int:
    """Size that the files of one job can have together: an upload's, and two sounds."""
    second = max(codec.sample_rate * codec.channels for codec in codecs.values()) * _BYTES_A_SAMPLE
    return limits.max_bytes + 2 * (int(limits.max_seconds * second) + _HEADER_BYTES)


def _wav(path: Path, wave: Waveform) -> Path:
    write_audio(path, wave.samples, wave.sample_rate)
    return path
