"""Codes of many pictures in one ``.vqk`` file: what generators of images learn, and what conditions music.

Conventions
    The pictures follow each other, each with its cells row by row; the header's grid says how many cells a picture has. Still pictures may
    have classes: ``labels`` in the metadata, one a line. Pictures of a film have a rate: pictures a second are sample_rate / hop_samples.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from vqkit.bitstream import VqkWriter
from vqkit.models.identity import accepted_hashes
from vqkit.models.image.compression import image_header
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.types import Float, Int

__all__ = ["check_same_weights", "picture_codes", "write_pictures"]


@torch.no_grad()
def picture_codes(
    tokenizer: ImageTokenizer, images: Float[Tensor, "pictures channels height width"], batch: int = 64
) -> Int[Tensor, "pictures cells num_codes"]:
    """Codes of pictures, cell after cell; arguments and errors as in `ImageTokenizer.encode`."""
    return torch.cat(
        [tokenizer.encode(part).flatten(start_dim=2).transpose(1, 2) for part in images.split(batch)]
    ).cpu()


def write_pictures(
    path: str | Path,
    tokenizer: ImageTokenizer,
    codes: Int[Tensor, "pictures cells num_codes"],
    size: tuple[int, int],
    *,
    labels: Sequence[str] = (),
    pictures_per_second: Fraction | int | None = None,
) -> None:
    """Write codes of pictures.

    Args:
        path: the file.
        tokenizer: whose codes they are.
        codes: codes of all pictures.
        size: (height, width) of a picture.
        labels: classes of the pictures, without line breaks; none by default.
        pictures_per_second: pictures a second of a film; None for still pictures.

    Raises:
        ValueError: the classes are of another number than the pictures, or take more than 64 KiB.
    """
    if labels and len(labels) != len(codes):
        raise ValueError(f"there are {len(labels)} labels for {len(codes)} pictures")
    header = image_header(tokenizer, *size)
    if labels:
        header = replace(header, metadata={"labels": "\n".join(labels)})
    if pictures_per_second is not None:
        rate = Fraction(pictures_per_second)
        header = replace(header, sample_rate=rate.numerator, hop_samples=rate.denominator)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with VqkWriter(path, header) as writer:
        writer.write(codes.flatten(end_dim=1))


def check_same_weights(generator_of: str, model: torch.nn.Module, called: str) -> None:
    """See that a generator learned the codes of these weights.

    Args:
        generator_of: `TokenGenerator.tokens_of`; empty where it does not know.
        model: codec or tokenizer.
        called: what it is, for the message.

    Raises:
        ValueError: they were codes of other weights.
    """
    hashes = accepted_hashes(model)
    if generator_of and generator_of not in hashes:
        raise ValueError(
            f"the generator learned codes of other weights ({generator_of[:12]}…) than those of the {called} ({hashes[0][:12]}…): "
            "they do not fit together"
        )
