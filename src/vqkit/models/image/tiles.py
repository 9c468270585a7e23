"""Tiling: coding of images of any size in tiles, with the same result as for the full image.

Every tile goes in with the backbone's margin around it, of which nothing is kept. At the border of the image there is no margin, so the
networks pad there and only there, as they do with the full image.
"""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Protocol

import torch
from torch import Tensor

from vqkit.models.image.backbone import ImageBackbone
from vqkit.models.input_checks import home
from vqkit.quantize import Quantizer
from vqkit.types import Float, Int

__all__ = ["MAX_WHOLE_PIXELS", "TILE_PIXELS", "Tiled", "block_grid", "check_size", "decode_tiles", "encode_tiles"]

TILE_PIXELS = 512  # least side of a tile
MAX_WHOLE_PIXELS = 1 << 21  # of an image that cannot be cut into tiles: Full HD

Watch = Callable[[float], None]  # share of the image that is done


class Tiled(Protocol):
    """Interface of `ImageTokenizer` that this module relies on."""

    quantizer: Quantizer
    backbone: ImageBackbone

    @property
    def channels(self) -> int:
        """Number of channels of the images."""

    def grid(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of the codes of an image."""

    def analyze(self, images: Tensor, /) -> Tensor:
        """Latents of images."""

    def synthesize(self, z: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Images of latents."""

    def decode(self, codes: Tensor, size: tuple[int, int] | None = None, /) -> Tensor:
        """Images of codes."""


def check_size(tokenizer: Tiled, height: int, width: int) -> None:
    """Refuse an image that the tokenizer can code neither whole nor in tiles.

    Raises:
        ValueError: the backbone takes images of another size only, or sees the whole image and this one is too large for that.
    """
    backbone = tokenizer.backbone
    if backbone.image_size is not None and (height, width) != backbone.image_size:
        only = "×".join(map(str, reversed(backbone.image_size)))
        raise ValueError(f"this tokenizer codes images of {only} pixels only, and this one has {width}×{height}")
    if backbone.image_size is None and backbone.margin is None and height * width > MAX_WHOLE_PIXELS:
        raise ValueError(
            f"this tokenizer ({type(backbone).__name__}) sees the whole image at once, so it codes at most {MAX_WHOLE_PIXELS} pixels, "
            f"and this one has {width}×{height} = {height * width}"
        )


def block_grid(tokenizer: Tiled, height: int, width: int) -> tuple[int, ...]:
    """Shape of the packed codes of an image: cells, or blocks of cells where the quantizer has codes of several scales."""
    return tuple(-(-side // tokenizer.quantizer.block) for side in tokenizer.grid(height, width))


@torch.no_grad()
def encode_tiles(
    tokenizer: Tiled,
    image: Float[Tensor, "channels height width"],
    tile_pixels: int | None = None,
    watch: Watch = lambda share: None,
    *,
    rate_weight: float | None = None,
) -> Iterator[Int[Tensor, "cells num_codes"]]:
    """Codes of all stages, cell by cell and row by row, on the CPU; packed, where the quantizer has codes of several scales.

    Such a quantizer looks at whole blocks: it is given the latent of the whole image, which the networks make tile by tile.

    Args:
        tokenizer: a tokenizer in evaluation mode.
        image: an image in [0, 1], on any device.
        tile_pixels: side of a tile, at least a cell; what the networks are given is a tile and the margins. By default 512, or four margins
            where they are more, so that not much more is computed than kept.
        watch: called after every tile.
        rate_weight: λ; every cell keeps only the stages that are worth their bits, see `Quantizer.encode`.

    Yields:
        The next whole rows of cells.

    Raises:
        ValueError: the tokenizer does not take such an image, or tile_pixels is less than a cell.
    """
    if tokenizer.quantizer.block > 1:
        latent = torch.cat(list(_latent_rows(tokenizer, image, tile_pixels, watch, lambda z: z)), dim=0)
        codes = tokenizer.quantizer.encode(latent[None].to(home(tokenizer.backbone).device), rate_weight=rate_weight)
        yield tokenizer.quantizer.pack(codes)[0].flatten(end_dim=-2).cpu()
        return
    rows = _latent_rows(
        tokenizer, image, tile_pixels, watch, lambda z: tokenizer.quantizer.encode(z, rate_weight=rate_weight)
    )
    for row in rows:
        yield row.flatten(end_dim=-2)


def _latent_rows(
    tokenizer: Tiled,
    image: Float[Tensor, "channels height width"],
    tile_pixels: int | None,
    watch: Watch,
    of_latent: Callable[[Tensor], Tensor],
) -> Iterator[Tensor]:
    """Yield ``of_latent`` of the latents of tiles, on the CPU: (rows, columns, …) of the next rows of cells, or (tokens, …)."""
    height, width = image.shape[-2:]
    check_size(tokenizer, height, width)
    like = home(tokenizer.backbone)
    cell, grid = tokenizer.backbone.cell, tokenizer.grid(height, width)
    rows, columns = _spans(tokenizer, grid, tile_pixels)
    for row, (top, bottom, above, below) in enumerate(rows):
        found = []
        for column, (left, right, before, behind) in enumerate(columns):
            tile = image[None, :, above * cell : below * cell, before * cell : behind * cell].to(like)
            made = of_latent(tokenizer.analyze(tile))[0].cpu()
            if made.ndim == 3:
                made = made[top - above : bottom - above, left - before : right - before]
            found.append(made)
            watch((row * len(columns) + column + 1) / (len(rows) * len(columns)))
        yield torch.cat(found, dim=-2)


@torch.no_grad()
def decode_tiles(
    tokenizer: Tiled,
    codes: Int[Tensor, "cells num_codes"],
    size: tuple[int, int],
    tile_pixels: int | None = None,
    watch: Watch = lambda share: None,
) -> Float[Tensor, "channels height width"]:
    """The image of codes, float32 on the CPU.

    Args:
        tokenizer: a tokenizer in evaluation mode.
        codes: codes of all cells, or packed codes of all blocks, row by row; of all stages or of the first ones.
        size: (height, width) of the image.
        tile_pixels: side of a tile, at least a cell; by default as in `encode_tiles`.
        watch: called after every tile.

    Returns:
        The image in [0, 1].

    Raises:
        ValueError: the tokenizer does not make such an image, there are not as many codes, or tile_pixels is less than a cell.
    """
    check_size(tokenizer, *size)
    cell, grid = tokenizer.backbone.cell, tokenizer.grid(*size)
    blocks = block_grid(tokenizer, *size)
    if len(codes) != math.prod(blocks):
        what = "cells" if tokenizer.quantizer.block == 1 else "blocks of cells"
        raise ValueError(
            f"an image of {size[1]}×{size[0]} pixels has {math.prod(blocks)} {what}, got codes of {len(codes)}"
        )
    places = codes.unflatten(0, blocks)[None]
    latent = None
    if tokenizer.quantizer.block > 1:  # whole blocks, then tiles of their latent
        unpacked = tokenizer.quantizer.unpack(places.long().to(home(tokenizer.backbone).device), grid)
        latent = tokenizer.quantizer.decode(unpacked)
    places = places.movedim(-1, 1)  # batch, num_codes, *grid
    image = torch.empty(tokenizer.channels, *size, dtype=torch.float32)
    tiles = list(product(*_spans(tokenizer, grid, tile_pixels)))
    for number, ((top, bottom, above, below), (left, right, before, behind)) in enumerate(tiles, start=1):
        if latent is not None:
            made = tokenizer.synthesize(latent[:, above:below, before:behind] if len(grid) == 2 else latent)[0]
        else:
            tile = places[..., above:below, before:behind] if len(grid) == 2 else places
            made = tokenizer.decode(tile.long())[0]
        inner = made[
            :, (top - above) * cell : (bottom - above) * cell, (left - before) * cell : (right - before) * cell
        ]
        place = image[:, top * cell : bottom * cell, left * cell : right * cell]
        place.copy_(inner[:, : place.shape[1], : place.shape[2]])
        watch(number / len(tiles))
    return image


_Span = tuple[int, int, int, int]  # cells of a tile from … to, and with its margins from … to


def _spans(tokenizer: Tiled, grid: tuple[int, ...], tile_pixels: int | None) -> list[list[_Span]]:
    """Tiles down and across."""
    cell, margin = tokenizer.backbone.cell, tokenizer.backbone.margin
    if tokenizer.backbone.image_size is not None or margin is None:
        rows, columns = grid if len(grid) == 2 else (1, 1)
        return [[(0, rows, 0, rows)], [(0, columns, 0, columns)]]
    tile_pixels = max(TILE_PIXELS, 4 * margin) if tile_pixels is None else tile_pixels
    if tile_pixels < cell:
        raise ValueError(f"tile_pixels is {tile_pixels}, it must be at least a cell, {cell}")
    step, more = tile_pixels // cell, -(-margin // cell)
    return [
        [
            (first, min(first + step, cells), max(0, first - more), min(first + step + more, cells))
            for first in range(0, cells, step)
        ]
        for cells in grid
    ]
