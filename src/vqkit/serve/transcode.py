"""A signal through a model and back, with all that the page shows of it; and a ``.vqk`` file back to its signal.

upload ─ as the model takes it ─┬─ compress ─ .vqk ─┬─ decompress ─ reconstruction
                                └─ the original     └─ codes ─ pictures
"""

import io
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from vqkit.bitstream import VqkReader
from vqkit.metrics import CodebookUsage
from vqkit.models.identity import weight_hash
from vqkit.models.loading import load_tokenizer, shipped_with
from vqkit.models.tokenizer import Tokenizer
from vqkit.models.vqk_files import open_reader
from vqkit.serve.medium import Figure, Medium, Numbers, medium_of
from vqkit.serve.pictures import codes_png, usage_png
from vqkit.serve.uploads import Limits, read_vqk

__all__ = ["Restored", "Transcoded", "restore", "transcode"]

_MOST_COUNTED = 1 << 20  # codes of an alphabet that `CodebookUsage` counts one by one
_CODES = ("Codes", "a row for each code of a {place}; the colour is its index in the codebook")
_USAGE = ("Codebook use", "of this file alone; grey: bits of a code before entropy coding")


@dataclass(frozen=True)
class Restored:
    """Signal decoded from a ``.vqk`` file, with measurements and figures.

    Attributes:
        model: name of the model that decoded it.
        tokenizer: this model: one of the page, or another that ships.
        reconstruction: the signal, (channels, samples) or (channels, height, width).
        numbers: measurements.
        warnings: damage to the file, a line each.
        figures: pictures of the signal, of its codes over time or cells, and of the use of the codebooks, where their alphabets are not
            too large to be counted: each with a title and a note.
    """

    model: str
    tokenizer: Tokenizer
    reconstruction: Tensor
    numbers: Numbers
    warnings: tuple[str, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Transcoded:
    """Signal and its reconstruction by a model, with measurements and figures.

    Attributes:
        original: the signal as the model was given it.
        reconstruction: the decoded signal.
        vqk: the ``.vqk`` file of the codes.
        warnings: warnings of the reader of the upload, a line each.
        numbers: measurements.
        figures: pictures and their titles, the same as in `Restored`, with the original first.
    """

    original: Tensor
    reconstruction: Tensor
    vqk: bytes
    warnings: tuple[str, ...]
    numbers: Numbers
    figures: tuple[Figure, ...]


def transcode(source: Path, model: Tokenizer, stages: int | None = None, limits: Limits | None = None) -> Transcoded:
    """Encode a file, decode it, and measure what happened.

    Args:
        source: the file.
        model: the model, in evaluation mode.
        stages: number of stages to keep; all by default.
        limits: limits of size; the usual ones by default.

    Returns:
        The signals, the file and what there is to show.

    Raises:
        ValueError: too big, empty, damaged, or not what the model codes.

    Example:
        >>> from vqkit import RVQ
        >>> from vqkit.data import sample_folder
        >>> from vqkit.models import SpectralCodec
        >>> codec = SpectralCodec(RVQ(16, 64, 4), encoder_width=16, decoder_width=16).eval()
        >>> made = transcode(sample_folder() / "music/stereo/test/freedoom_countd.flac", codec, stages=2)
        >>> made.numbers.stages, made.numbers.frames, made.reconstruction.shape == made.original.shape
        (2, 100, True)
    """
    medium = medium_of(model)
    given = medium.read(source, model, limits or Limits())
    kept = stages or model.quantizer.num_stages
    begin = time.perf_counter()
    vqk = medium.compress(model, given.signal, kept)
    middle = time.perf_counter()
    back = medium.decompress(model, vqk)
    end = time.perf_counter()
    codes = _codes(medium, model, vqk)
    numbers = Numbers(
        size=tuple(back.shape[1:]),
        units=medium.units(model, back),
        vqk_bytes=len(vqk),
        rate=8 * len(vqk) / medium.units(model, back),
        nominal_rate=medium.nominal_rates(model, given.signal)[kept - 1],
        stages=kept,  # on average: frames of the file may have one more or less
        frames=codes.frames,
        encode_seconds=middle - begin,
        decode_seconds=end - middle,
        quality=medium.quality(model, given.signal, back),
    )
    figures = (*medium.figures(model, given.signal, back), *codes.figures)
    return Transcoded(given.signal, back, vqk, given.warnings, numbers, figures)


def restore(source: Path, models: Mapping[str, Tokenizer], limits: Limits | None = None) -> Restored:
    """Decode a ``.vqk`` file with the model that wrote it.

    Args:
        source: the file.
        models: models by name; the one with the file's weights is taken. If none has them, one that ships may: files of models that were
            once the default still decode.
        limits: limits of size; the usual ones by default.

    Returns:
        The signal and what there is to show.

    Raises:
        ValueError: too big, empty, not a vqk file, damaged beyond use, or written by a model that is not there.
    """
    limits = limits or Limits()
    vqk = read_vqk(source, limits)
    name, model = _writer_of(vqk, models)
    medium = medium_of(model)
    with open_reader(model, io.BytesIO(vqk)) as reader:
        try:
            medium.check(model, reader.header, reader.frames, limits)
        except ValueError as error:
            if str(error) != "its codes do not fit":
                raise
            raise ValueError(f"the file claims to be of {name}, but its codes do not fit") from None
        if not reader.frames or bool((reader.read() < 0).all()):
            raise ValueError(f"nothing of the file's {medium.modality.word} is left: it is cut short or damaged")
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        back = medium.decompress(model, vqk)
    seconds = time.perf_counter() - begin
    codes = _codes(medium, model, vqk)
    numbers = Numbers(
        size=tuple(back.shape[1:]),
        units=medium.units(model, back),
        vqk_bytes=len(vqk),
        rate=8 * len(vqk) / medium.units(model, back),
        nominal_rate=None,
        stages=codes.stages,
        frames=codes.frames,
        encode_seconds=None,
        decode_seconds=seconds,
        quality={},
    )
    notes = tuple(str(warning.message) for warning in caught)
    return Restored(name, model, back, numbers, notes, (*medium.figures(model, None, back), *codes.figures))


@dataclass(frozen=True)
class _Codes:
    stages: int
    frames: int
    figures: tuple[Figure, ...]


def _codes(medium: Medium, model: Tokenizer, vqk: bytes) -> _Codes:
    with open_reader(model, io.BytesIO(vqk)) as reader:
        header, codes = reader.header, reader.read()
    extent, unit = medium.extent(model, len(codes))
    drawn = codes_png(codes.T.numpy(), header.code_sizes, header.codes_per_stage, extent, unit)
    title, note = _CODES
    figures: list[Figure] = [(title, note.format(place=medium.place.removesuffix("s")), drawn)]
    if max(header.code_sizes) <= _MOST_COUNTED:
        counted = CodebookUsage(header.code_sizes, header.codes_per_stage)
        counted.update(codes)
        figures.append((*_USAGE, usage_png(counted.compute(), header.codes_per_stage)))
    return _Codes(header.most_stages(codes), len(codes), tuple(figures))


def _writer_of(vqk: bytes, models: Mapping[str, Tokenizer]) -> tuple[str, Tokenizer]:
    with VqkReader(io.BytesIO(vqk)) as reader:
        header = reader.header
    hashes = {name: weight_hash(model) for name, model in models.items()}
    for name, found in hashes.items():
        if found == header.model_hash:
            return name, models[name]
    if (folder := shipped_with(header.model_hash)) is not None:
        return folder.name, _shipped(folder)
    here = ", ".join(f"{name} ({found[:8]})" for name, found in hashes.items())
    writer = f"{header.model or 'a model'} with weights {header.model_hash[:8] or 'unstated'}"
    raise ValueError(f"the file was written by {writer}, which is not loaded here; loaded: {here}")


@cache
def _shipped(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)
