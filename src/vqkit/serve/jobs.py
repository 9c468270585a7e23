"""Jobs of the page on a file, run in the process for jobs; their results are files and fragments of HTML, ready to be shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vqkit.counts import is_flag
from vqkit.files import write_whole
from vqkit.models.tokenizer import Tokenizer
from vqkit.serve.fragments import figures_html, notes_list, numbers_table
from vqkit.serve.medium import medium_of
from vqkit.serve.transcode import restore, transcode
from vqkit.serve.uploads import Limits

__all__ = ["Decoded", "Encoded", "decode_job", "encode_job", "result_bytes"]


@dataclass(frozen=True)
class Encoded:
    """Result of encoding a signal and decoding it again.

    Attributes:
        notes: HTML: what is wrong with the upload.
        numbers: HTML: the table of numbers.
        original: file of the model's input.
        reconstruction: file of the decoded signal.
        vqk: the ``.vqk`` file.
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
    """The signal of a ``.vqk`` file.

    Attributes:
        modality: name of what it is.
        notes: HTML: who wrote the file, and what is damaged.
        numbers: HTML: the table of numbers.
        file: file of the signal.
        figures: HTML: the pictures.
    """

    modality: str
    notes: str
    numbers: str
    file: Path
    figures: str


def encode_job(
    models: Mapping[str, Tokenizer], source: Path, folder: Path, name: str, stages: int, modality: str, limits: Limits
) -> Encoded:
    """Encode an upload, and decode it.

    Args:
        models: models by name.
        source: the upload.
        folder: folder for the files that are made.
        name: name of the model.
        stages: number of the model's stages to keep.
        modality: name of what the upload must be.
        limits: limits of size.

    Raises:
        ValueError: there is no such model of that modality or no such number of stages, or the upload is refused.
    """
    known = {key: model for key, model in models.items() if model.modality.name == modality}
    model = known.get(name)
    if model is None:
        raise ValueError(f"there is no model {name!r} here; there are {', '.join(known)}")
    most = model.quantizer.num_stages
    if not isinstance(stages, int) or is_flag(stages) or not 1 <= stages <= most:
        raise ValueError(f"the number of stages is {stages}, {name} has 1 … {most}")
    medium = medium_of(model)
    made = transcode(source, model, stages, limits)
    vqk, original, reconstruction = (
        folder / file
        for file in (f"{medium.modality.word}.vqk", f"original{medium.suffix}", f"reconstruction{medium.suffix}")
    )
    write_whole(vqk, made.vqk)
    medium.write(original, model, made.original)
    medium.write(reconstruction, model, made.reconstruction)
    return Encoded(
        notes=notes_list("", made.warnings),
        numbers=numbers_table(medium, made.numbers),
        original=original,
        reconstruction=reconstruction,
        vqk=vqk,
        figures=figures_html(made.figures),
    )


def decode_job(models: Mapping[str, Tokenizer], source: Path, folder: Path, limits: Limits) -> Decoded:
    """Decode an uploaded ``.vqk`` file.

    Args:
        models: models by name; the one with the file's weights is taken.
        source: the upload.
        folder: folder for the file that is made.
        limits: limits of size.

    Raises:
        ValueError: the file is refused, damaged, or of a model that is not there.
    """
    made = restore(source, models, limits)
    model = made.tokenizer
    medium = medium_of(model)
    file = folder / f"{medium.modality.word}{medium.suffix}"
    medium.write(file, model, made.reconstruction)
    return Decoded(
        modality=medium.modality.name,
        notes=notes_list(f"Written by {made.model}.", tuple(f"Damaged: {line}" for line in made.warnings)),
        numbers=numbers_table(medium, made.numbers),
        file=file,
        figures=figures_html(made.figures),
    )


def result_bytes(models: Mapping[str, Tokenizer], limits: Limits) -> int:
    """Size that the files of one job can have together: an upload's, and two signals."""
    return limits.max_bytes + 2 * max(medium_of(model).most_bytes(model, limits) for model in models.values())
