"""Generation of images, of a class or unconditionally.

class ─ TokenGenerator ─ ids (cells, num_ids) ─ packing ─ codes ─ ImageTokenizer ─ image
"""

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.models.generator.packing import StagePacking
from vqkit.models.generator.patterns import NextScale
from vqkit.models.generator.picture_tokens import check_same_weights, picture_latent, scale_grids
from vqkit.models.generator.token_generator import TokenGenerator
from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.quantize import Multiscale
from vqkit.types import Float

__all__ = ["ImageGenerator", "image_grid"]

_BATCH = 64  # images sampled at once


class ImageGenerator:
    """A generator and the image tokenizer whose codes it learned.

    Args:
        generator: generator of the tokenizer's codes, with a `TokenGenerator.grid` of (rows, columns), or with the pattern `NextScale`
            whose last grid that is.
        tokenizer: tokenizer that decodes the codes to images.

    Attributes:
        size: (height, width) of the images.
        grid: (rows, columns) of their cells.
        frames: frames of a stream of the generator.

    Raises:
        ValueError: the two do not fit together.

    Example:
        >>> from vqkit import RVQ
        >>> from vqkit.models import ConvBackbone
        >>> tokenizer = ImageTokenizer(ConvBackbone(dim=8, width=8), RVQ(8, 16, 2, init="uniform"))
        >>> makes = ImageGenerator(TokenGenerator((16, 16), width=16, layers=1, heads=2, grid=(3, 3)), tokenizer)
        >>> makes(2, seed=1).shape
        torch.Size([2, 3, 12, 12])
    """

    def __init__(self, generator: TokenGenerator, tokenizer: ImageTokenizer) -> None:
        check_same_weights(generator.tokens_of, tokenizer, "image tokenizer")
        quantizer, pattern = tokenizer.quantizer, generator.pattern
        if isinstance(quantizer, Multiscale) != isinstance(pattern, NextScale):
            raise ValueError(
                f"the generator's pattern is {type(pattern).__name__}, the tokenizer's quantizer {type(quantizer).__name__}: "
                "NextScale and Multiscale belong together"
            )
        # the scales share one quantizer, whose codes a frame of the generator has
        coded = quantizer.scales[0] if isinstance(quantizer, Multiscale) else quantizer
        self.packing = StagePacking.fitting(coded, generator.code_sizes)
        grid = self.grid = pattern.sizes[-1] if isinstance(pattern, NextScale) else generator.grid
        cell = tokenizer.backbone.cell
        size = tokenizer.backbone.image_size or tuple(cell * side for side in grid)
        if len(size) != 2 or tokenizer.grid(*size) != grid:
            expected = tokenizer.grid(*size) if len(size) == 2 else "(rows, columns)"
            raise ValueError(f"the generator's grid is {grid}, that of the tokenizer's images {expected}")
        if isinstance(pattern, NextScale) and isinstance(quantizer, Multiscale):
            grids = scale_grids(quantizer, grid)
            if grids != list(pattern.sizes):
                raise ValueError(f"the generator's grids are {pattern.sizes}, the tokenizer's {grids}")
        self.size: tuple[int, int] = (size[0], size[1])
        self.frames = pattern.frames if isinstance(pattern, NextScale) else prod(grid)
        self.generator, self.tokenizer = generator.eval(), tokenizer.eval()

    @classmethod
    def from_folder(cls, folder: str | Path, tokenizer: str | Path | None = None) -> Self:
        """Read both from a folder.

        Args:
            folder: holds ``generator/``, as a training run does, and ``tokenizer/``.
            tokenizer: folder of the tokenizer, where it lies elsewhere.

        Raises:
            ValueError: a model is missing or damaged, or they do not fit together.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"{folder} is no folder with a generator/ and a tokenizer/")
        generator = TokenGenerator.from_pretrained(folder / "generator" if (folder / "generator").is_dir() else folder)
        where = folder / "tokenizer" if tokenizer is None else Path(tokenizer)
        if tokenizer is None and not where.is_dir():
            raise ValueError(f"{folder} has no tokenizer/; --tokenizer FOLDER names one that lies elsewhere")
        return cls(generator, ImageTokenizer.from_pretrained(where))

    @torch.no_grad()
    def __call__(
        self,
        count: int,
        class_name: str | None = None,
        *,
        watch: Callable[[float], None] = lambda share: None,
        seed: int = 0,
        **sampling: Any,
    ) -> Float[Tensor, "count channels height width"]:
        """Generate images in [0, 1].

        Args:
            count: number of images.
            class_name: class of the images; None leaves it open.
            watch: called with the share that is done.
            seed: seed of the random numbers.
            sampling: temperature, top_k, top_p and guidance of `TokenGenerator.generate`.

        Raises:
            ValueError: fewer than one image, a class that does not exist, or a setting out of range.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        number = None if class_name is None else self.generator.class_index(class_name)
        made: list[Tensor] = []
        for first in range(0, count, _BATCH):
            rows = min(_BATCH, count - first)
            classes = None if number is None else torch.full((rows,), number, device=self.generator.first.device)
            ids = self.generator.generate(
                self.frames,
                batch=rows,
                classes=classes,
                seed=seed + first,
                watch=lambda share, f=first, r=rows: watch((f + share * r) / count),  # type: ignore[misc]
                **sampling,
            )
            codes = picture_latent(self.tokenizer.quantizer, self.packing.unpack(ids), self.grid)
            made.append(self.tokenizer.decode(codes, self.size).float().cpu())
        return torch.cat(made)


def image_grid(
    images: Float[Tensor, "count channels height width"], columns: int, gap: int = 2, enlarge: int = 1
) -> Float[Tensor, "channels rows columns"]:
    """Images side by side on white.

    Args:
        images: images in [0, 1].
        columns: images in a row.
        gap: pixels between them.
        enlarge: whole factor by which each is enlarged, pixel by pixel.

    Example:
        >>> image_grid(torch.zeros(5, 1, 4, 4), columns=3).shape
        torch.Size([1, 14, 20])
    """
    if columns < 1 or enlarge < 1:
        raise ValueError(f"columns and enlarge must be at least 1, got {columns} and {enlarge}")
    images = images.repeat_interleave(enlarge, -1).repeat_interleave(enlarge, -2)
    missing = -len(images) % columns
    cells = functional.pad(
        torch.cat([images, torch.ones_like(images[:1]).expand(missing, -1, -1, -1)]), (gap, 0, gap, 0), value=1.0
    )
    rows = [torch.cat(list(row), dim=-1) for row in cells.split(columns)]
    return functional.pad(torch.cat(rows, dim=-2), (0, gap, 0, gap), value=1.0)
