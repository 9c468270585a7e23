"""A fixed transform of overlapping blocks: nothing is learned but which coefficients count.

    images ─ luma and two chromas ─ lapping across blocks ─ cosine transform of 16×16 blocks ─ the dim most varying coefficients ─ z

Its coefficients are sparse, and their error is about that of the image, so that a quantizer that spends bits where there are such
(`vqkit.SteppedFSQ`) needs no networks around it. Learned linear maps lose to it for long: the jitter of a weight lets the strong low
frequencies leak into the weak high ones; and what a network behind it could mend is little (docs/log.md, 2026-11-27).

References:
    Tran, Liang & Tu, "Lapped transform via time-domain pre- and post-filtering" (2003), IEEE Transactions on Signal Processing 51(6): the
    lapping, which multiplies sixteen pixels across the edge of two blocks by P = ½ W diag(I, V) W before the cosine transform, and by its
    inverse behind the inverse one; V = J C_IIᵀ S C_IV J.
"""

import math

import torch
from torch import Tensor, nn

from vqkit.constants import Constant
from vqkit.models.image.backbone import ImageBackbone
from vqkit.types import Float

__all__ = ["LappedBackbone", "cosine_basis", "lapping"]

_CELL = 16
_OVERLAP = 8  # pixels of a block, at each edge, that are lapped with those of its neighbour
_STRETCH = 1.5  # of the lapping's first odd function: of 1 to 2, best on photographs
_COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))  # of red, green, blue; rows are made orthonormal


class LappedBackbone(ImageBackbone):
    """Backbone with one latent vector for every 16×16 pixels: the coefficients that vary most in a first batch, the strongest first.

    Args:
        dim: number of coefficients, of 256 for each channel.
        channels: number of channels of the images, 1 or 3.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> backbone = LappedBackbone(dim=768)
        >>> image = torch.rand(1, 3, 64, 48)
        >>> z = backbone.encode(image)
        >>> z.shape, (backbone.decode(z) - image).abs().max().item() < 1e-4
        (torch.Size([1, 4, 3, 768]), True)
    """

    def __init__(self, dim: int = 260, *, channels: int = 3) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if not 1 <= dim <= channels * _CELL**2:
            raise ValueError(f"dim must be in 1 … {channels * _CELL**2}, got {dim}")
        self.channels, self.dim, self.cell = channels, dim, _CELL
        self.margin = _CELL  # of the next block, half laps into this one
        self._colours = Constant(lambda: nn.functional.normalize(torch.tensor(_COLOURS)))
        self._cosines = Constant(lambda: cosine_basis(_CELL).float())
        self._lapping = Constant(lambda: lapping(2 * _OVERLAP, _STRETCH).float())
        self._unlapping = Constant(lambda: torch.linalg.inv(lapping(2 * _OVERLAP, _STRETCH)).float())
        self.order: Tensor
        self.middle: Tensor
        self.register_buffer("order", torch.empty(dim, dtype=torch.long))
        self.register_buffer("middle", torch.empty(channels))  # the value of each channel that is 0 to the transform
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does: low frequencies come first."""
        row, column = torch.meshgrid(torch.arange(_CELL), torch.arange(_CELL), indexing="ij")
        weak = torch.tensor([1.0, 3.0, 9.0])[: self.channels, None, None]  # chroma varies less
        self.order.copy_((weak * (1 + row) * (1 + column)).flatten().argsort(stable=True)[: self.dim])
        self.middle.fill_(0.5)

    @property
    def last_layer(self) -> nn.Parameter:
        """None: nothing is learned.

        Raises:
            ValueError: always.
        """
        raise ValueError("a LappedBackbone has no layer that learns")

    def encode(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch rows columns dim"]:
        """Latents (batch, height / 16, width / 16, dim)."""
        return self._coefficients(images)[..., self.order]

    def decode(self, latent: Float[Tensor, "batch rows columns dim"]) -> Float[Tensor, "batch channels height width"]:
        """Images."""
        shape = (*latent.shape[:-1], self.channels * _CELL**2)
        every = torch.zeros(shape, dtype=latent.dtype, device=latent.device).index_copy(-1, self.order, latent)
        blocks = every.unflatten(-1, (self.channels, _CELL, _CELL))
        cosines = self._cosines.on(latent.device, latent.dtype)
        lapped = torch.einsum("brwckl,ky,lx->bcrywx", blocks, cosines, cosines).flatten(4, 5).flatten(2, 3)
        images = self._coloured(_lap(lapped, self._unlapping.on(latent.device, latent.dtype)), back=True)
        return images + self.middle[:, None, None]

    @torch.no_grad()
    def initialize(self, images: Float[Tensor, "batch channels height width"]) -> None:
        """Choose the coefficients that vary most; those across and those down count alike.

        Raises:
            ValueError: the batch is of one colour.
        """
        variance = self._coefficients(images).flatten(end_dim=-2).var(dim=0).view(self.channels, _CELL, _CELL)
        if not variance.max() > 1e-8:
            raise ValueError("cannot choose coefficients by this batch: it is of one colour")
        both = variance + variance.transpose(1, 2)
        self.order.copy_(both.flatten().argsort(descending=True, stable=True)[: self.dim])

    def _coefficients(self, images: Tensor) -> Tensor:
        """All coefficients of each block: (batch, rows, columns, channels · 256)."""
        lapped = _lap(
            self._coloured(images - self.middle[:, None, None]), self._lapping.on(images.device, images.dtype)
        )
        blocks = lapped.unflatten(3, (-1, _CELL)).unflatten(2, (-1, _CELL))
        cosines = self._cosines.on(images.device, images.dtype)
        return torch.einsum("bcrywx,ky,lx->brwckl", blocks, cosines, cosines).flatten(3)

    def _coloured(self, images: Tensor, back: bool = False) -> Tensor:
        if self.channels == 1:
            return images
        colours = self._colours.on(images.device, images.dtype)
        return torch.einsum("dc,bdhw->bchw" if back else "cd,bdhw->bchw", colours, images)


def _lap(images: Tensor, matrix: Float[Tensor, "16 16"]) -> Tensor:
    """Multiply the pixels across each edge of two blocks by a matrix, down and across; the image's own edges stay as they are."""
    for _ in range(2):
        images = images.transpose(-1, -2)
        first, last = images[..., :_OVERLAP], images[..., -_OVERLAP:]
        inner = images[..., _OVERLAP:-_OVERLAP].unflatten(-1, (images.shape[-1] // _CELL - 1, 2 * _OVERLAP)) @ matrix.T
        images = torch.cat([first, inner.flatten(-2), last], dim=-1)
    return images


def cosine_basis(size: int, shift: float = 0.0) -> Float[Tensor, "size size"]:
    """Rows of the orthonormal cosine transform, in float64: of type II, or of type IV with a shift of ½.

    Example:
        >>> basis = cosine_basis(4)
        >>> torch.allclose(basis @ basis.T, torch.eye(4, dtype=torch.float64)), basis[0].tolist()
        (True, [0.5, 0.5, 0.5, 0.5])
    """
    number = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi * (number + 0.5) * (number[:, None] + shift) / size) * math.sqrt(2 / size)
    if not shift:
        basis[0] /= math.sqrt(2)
    return basis


def lapping(size: int, stretch: float) -> Float[Tensor, "size size"]:
    """The matrix P of the lapping, in float64; orthonormal where ``stretch`` is 1."""
    half = size // 2
    same = torch.eye(half, dtype=torch.float64)
    turned = same.flip(0)
    wave = torch.cat([torch.cat([same, turned], dim=1), torch.cat([turned, -same], dim=1)])
    stretched = same.clone()
    stretched[0, 0] = stretch
    inner = turned @ cosine_basis(half).T @ stretched @ cosine_basis(half, 0.5) @ turned
    return 0.5 * wave @ torch.block_diag(same, inner) @ wave
