"""Codes of many pictures in one ``.vqk`` file: what generators of images learn, and what conditions music.

Conventions
    The pictures follow each other, each with its cells row by row; the header's grid says how many cells a picture has. Still pictures may
    have classes: ``labels`` in the metadata, one a line. Pictures of a film have a rate: pictures a second are sample_rate / hop_samples.
    With a `Multiscale` quantizer the cells are those of all its grids, from the coarsest to the finest.
"""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from vqkit.bitstream import VqkHeader, VqkWriter
from vqkit.models.identity import accepted_hashes, weight_hash
from vqkit.models.image.compression import image_header
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.quantize import Multiscale, Quantizer
from vqkit.types import Float, Int

__all__ = ["check_same_weights", "picture_codes", "picture_latent", "scale_grids", "write_pictures"]


def scale_grids(quantizer: Multiscale, grid: Sequence[int]) -> list[tuple[int, ...]]:
    """Sizes of the grids of a picture, for `vqkit.models.generator.patterns.NextScale`.

    Args:
        quantizer: quantizer of the image tokenizer.
        grid: cells of a picture, such as (rows, columns).

    Raises:
        ValueError: the scales do not share one quantizer of one stage, or a picture is not one block of it.

    Example:
        >>> from vqkit import VQ
        >>> scale_grids(Multiscale([VQ(8, 16)], sizes=(1, 2, 4), spatial_dims=2), (4, 4))
        [(1, 1), (2, 2), (4, 4)]
    """
    if len(quantizer.scales) != 1 or quantizer.scales[0].num_stages != 1:
        raise ValueError("next-scale prediction needs a Multiscale whose scales share one quantizer of one stage")
    if tuple(grid) != (quantizer.block,) * quantizer.spatial_dims:
        raise ValueError(f"a picture must be one block of {quantizer.block} cells a side, its grid is {tuple(grid)}")
    return [(size,) * quantizer.spatial_dims for size in quantizer.sizes]


def picture_latent(
    quantizer: Quantizer, codes: Int[Tensor, "pictures cells num_codes"], grid: tuple[int, ...]
) -> Int[Tensor, "pictures codes rows columns"]:
    """The inverse of the layout that `picture_codes` gives: codes as `ImageTokenizer.decode` takes them.

    Args:
        quantizer: quantizer of the image tokenizer.
        codes: codes of pictures, cell after cell.
        grid: cells of a picture.
    """
    if isinstance(quantizer, Multiscale):
        return quantizer.unpack(codes.flatten(start_dim=1)[:, None, None], grid).movedim(-1, 1)
    return codes.transpose(1, 2).unflatten(2, grid)


@torch.no_grad()
def picture_codes(
    tokenizer: ImageTokenizer, images: Float[Tensor, "pictures channels height width"], batch: int = 64
) -> Int[Tensor, "pictures cells num_codes"]:
    """Codes of pictures, cell after cell; arguments and errors as in `ImageTokenizer.encode` and, of scales, `scale_grids`."""
    quantizer = tokenizer.quantizer
    codes = torch.cat([tokenizer.encode(part) for part in images.split(batch)]).cpu()
    if isinstance(quantizer, Multiscale):
        scale_grids(quantizer, codes.shape[2:])
        return quantizer.pack(codes.movedim(1, -1)).view(len(codes), -1, len(quantizer.scales[0].code_sizes))
    return codes.flatten(start_dim=2).transpose(1, 2)


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
        path: path of the file.
        tokenizer: tokenizer of the codes.
        codes: codes of all pictures.
        size: (height, width) of a picture.
        labels: classes of the pictures, without line breaks; none by default.
        pictures_per_second: pictures a second of a film; None for still pictures.

    Raises:
        ValueError: the classes are of another number than the pictures, or take more than 64 KiB.
    """
    if labels and len(labels) != len(codes):
        raise ValueError(f"there are {len(labels)} labels for {len(codes)} pictures")
    header = _header(tokenizer, codes.shape[1], size)
    if labels:
        header = replace(header, metadata={"labels": "\n".join(labels)})
    if pictures_per_second is not None:
        rate = Fraction(pictures_per_second)
        header = replace(header, sample_rate=rate.numerator, hop_samples=rate.denominator)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with VqkWriter(path, header) as writer:
        writer.write(codes.flatten(end_dim=1))


def _header(tokenizer: ImageTokenizer, cells: int, size: tuple[int, int]) -> VqkHeader:
    quantizer = tokenizer.quantizer
    if not isinstance(quantizer, Multiscale):
        return image_header(tokenizer, *size)
    shared = quantizer.scales[0]
    return VqkHeader(
        code_sizes=shared.code_sizes,
        codes_per_stage=shared.codes_per_stage,
        grid=(cells,),
        image_size=size,
        model=type(tokenizer).__name__,
        model_hash=weight_hash(tokenizer),
    )


def check_same_weights(generator_of: str, model: torch.nn.Module, called: str) -> None:
    """See that a generator learned the codes of these weights.

    Args:
        generator_of: `TokenGenerator.tokens_of`; empty where it does not know.
        model: codec or tokenizer.
        called: name of the model, for the message.

    Raises:
        ValueError: they were codes of other weights.
    """
    hashes = accepted_hashes(model)
    if generator_of and generator_of not in hashes:
        raise ValueError(
            f"the generator learned codes of other weights ({generator_of[:12]}…) than those of the {called} ({hashes[0][:12]}…): "
            "they do not fit together"
        )
