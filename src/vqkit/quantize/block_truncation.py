"""BlockTruncation: a block of pixels as two colours and, for every pixel, its place between them."""

import torch
from torch import Tensor

from vqkit.constants import Constant
from vqkit.counts import check_numbers
from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import positive
from vqkit.quantize.straight_through import straight_through
from vqkit.types import Float, Int

__all__ = ["BlockTruncation"]

_ROUNDS = 2  # of fitting the ends to the places, and the places to the ends
_SQUARINGS = 5  # of a covariance, to its 32nd power
_TINY = 1e-12
_FAR = 1e12  # beyond which squares could overflow; colours are cut off long before


class BlockTruncation(Quantizer):
    """x̂_p = a + t_p (b − a), with ends a and b of the block's own and a place t_p for each of its pixels.

    The ends lie on a grid of colours; ``a`` is the one that most pixels are near. They are fitted by least squares to places on the line
    along which the block's colours vary most. Stage 1 is ``a`` alone, stage 2 adds ``b`` and one bit a pixel, whether it is nearer to
    ``b``, and every further stage one bit a pixel of how far it is from its end. The bits of ``run`` pixels are one code, so that a model
    of codes sees edges.

    For what is drawn rather than photographed: text, lines, diagrams, whose blocks have two colours and mixtures of them.

    Args:
        pixels: pixels of a block.
        channels: channels of a pixel; vectors are pixel after pixel, and ``dim`` is their product.
        refinements: stages after the second, at most 7.
        levels: values that a channel of an end can have, at most 256.
        run: pixels whose bits are one code, at most 8; ``pixels`` is a multiple.
        low: least value of a channel; `fit` measures it.
        high: largest value; `fit` measures it.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> q = BlockTruncation(pixels=8, channels=1, refinements=1).eval()
        >>> z = torch.tensor([-0.5, -0.5, -0.5, -0.5, -0.5, 0.0, 0.5, 0.5])
        >>> codes = q.encode(z[None, None])
        >>> codes.tolist()  # black; white, and three pixels nearer to it; one of them in between
        [[[0, 52, 7, 4]]]
        >>> q.decode(codes)[0, 0].tolist() == q.decode(codes[..., :3])[0, 0].tolist()
        False

    References:
        Delp & Mitchell, "Image compression using block truncation coding" (1979), IEEE Transactions on Communications 27(9); Campbell et
        al., "Two bit/pixel full color encoding" (1986), SIGGRAPH 20(4) (colours).
    """

    straight_through = True
    codebook_numel = 0  # the colours are a grid
    bounds: Tensor

    def __init__(
        self,
        pixels: int,
        channels: int = 3,
        *,
        refinements: int = 2,
        levels: int = 52,
        run: int = 8,
        low: float = -0.5,
        high: float = 0.5,
    ) -> None:
        super().__init__()
        self.pixels, self.channels, self.run = positive("pixels", pixels), positive("channels", channels), run
        self.dim = pixels * channels
        check_numbers(run=run, refinements=refinements, levels=levels)
        if not 1 <= run <= 8 or pixels % run:
            raise ValueError(f"run must be in 1 … 8 and divide the {pixels} pixels, got {run}")
        if not 0 <= refinements <= 7 or not 2 <= levels <= 256:
            raise ValueError(f"refinements must be in 0 … 7 and levels in 2 … 256, got {refinements} and {levels}")
        if not low < high:
            raise ValueError(f"low must be below high, got {low} and {high}")
        self.refinements, self.levels, self.low, self.high = refinements, levels, float(low), float(high)
        self._powers = Constant(lambda: 2 ** torch.arange(run).flip(0))
        self.register_buffer("bounds", torch.empty(2, dtype=torch.float32))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does."""
        self.bounds.copy_(torch.tensor([self.low, self.high]))

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """The levels of ``a``; those of ``b``, of which 0 is "as ``a``", and runs of bits; further runs of bits."""
        runs = (1 << self.run,) * (self.pixels // self.run)
        return (self.levels,) * self.channels + (self.levels + 1,) * self.channels + runs * (1 + self.refinements)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """A colour; another and the bits; the bits of each refinement."""
        runs = self.pixels // self.run
        return (self.channels, self.channels + runs, *[runs] * self.refinements)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the bounds of the colours."""
        return self.bounds.dtype

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        codes = self._encode(x.detach(), mask)
        return straight_through(x, self._decode(codes, self.num_stages)), codes, {}

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        blocks = x.clamp(-_FAR, _FAR).reshape(-1, self.pixels, self.channels)
        first, last = (self._levels_of(end) for end in self._ends(blocks))
        places = self._places(blocks, self._colours(first), self._colours(last))
        swapped = places.mean(dim=1, keepdim=True) > 0.5
        first, last = torch.where(swapped, last, first), torch.where(swapped, first, last)
        most = (1 << 1 + self.refinements) - 1
        number = (most * torch.where(swapped, 1 - places, places)).round().long()
        flat = (first == last).all(dim=1, keepdim=True)
        number = torch.where(flat, 0, number)
        codes = [first, torch.where(flat, 0, last + 1)]
        codes.append(self._runs((number > most // 2).long()))
        inward = torch.minimum(number, most - number)  # steps from the nearer end
        bits = (inward.div(1 << bit, rounding_mode="floor") % 2 for bit in reversed(range(self.refinements)))
        codes += [self._runs(bit) for bit in bits]
        found = torch.cat(codes, dim=1)
        found = found.reshape(*x.shape[:-1], found.shape[1])
        return found if mask is None else torch.where(mask[..., None], found, -1)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        shape = codes.shape[:-1]
        first, *rest = codes.reshape(-1, codes.shape[-1]).split(self.codes_per_stage[:stages], dim=1)
        a = self._colours(first.clamp_min(0))[:, None]
        blocks = a.expand(-1, self.pixels, -1)
        if rest:
            other, runs = rest[0].split([self.channels, self.pixels // self.run], dim=1)
            b = torch.where(other > 0, self._colours((other - 1).clamp_min(0)), a[:, 0])[:, None]
            blocks = a + self._between(runs, rest[1:])[..., None] * (b - a)
        blocks = torch.where(first[:, :1, None] < 0, 0.0, blocks)
        return blocks.reshape(*shape, self.dim)

    def _between(self, runs: Tensor, refined: list[Tensor]) -> Float[Tensor, "blocks pixels"]:
        """The places of pixels, from the bits of the nearer end and those of as many refinements as there are."""
        steps = torch.zeros(runs.shape[0], self.pixels, dtype=torch.float32, device=runs.device)
        left = float(1 << self.refinements)
        for part in refined:
            left /= 2
            steps = steps + left * self._bits(part).float()
        # of what is known to lie between the ends, the middle; what may be an end is one
        steps = torch.where(steps > 0, steps + (left - 1) / 2, 0.0) if refined else steps
        inward = steps / ((1 << 1 + self.refinements) - 1)
        return torch.where(self._bits(runs) > 0, 1 - inward, inward)

    def _ends(self, blocks: Float[Tensor, "blocks pixels channels"]) -> list[Float[Tensor, "blocks channels"]]:
        """The ends of the line through each block's colours."""
        mean = blocks.mean(dim=1, keepdim=True)
        around = blocks - mean
        axis = _main_axis(around.transpose(1, 2) @ around)
        along = around @ axis
        ends = [mean[:, 0] + axis[..., 0] * extreme for extreme in (along.amin(dim=1), along.amax(dim=1))]
        steps = (1 << 1 + self.refinements) - 1
        for _ in range(_ROUNDS):
            place = (self._places(blocks, *ends) * steps).round() / steps
            weights = torch.stack([1 - place, place], dim=1)  # (blocks, 2, pixels)
            gram = weights @ weights.transpose(1, 2)
            apart = gram[:, 0, 0] * gram[:, 1, 1] - gram[:, 0, 1].square()
            inverse = torch.stack(
                [torch.stack([gram[:, 1, 1], -gram[:, 0, 1]], -1), torch.stack([-gram[:, 0, 1], gram[:, 0, 0]], -1)], 1
            )
            fitted = inverse @ (weights @ blocks) / apart.clamp_min(_TINY)[:, None, None]
            solvable = (apart > 1e-6)[:, None]
            ends = [torch.where(solvable, fitted[:, number], ends[number]) for number in (0, 1)]
        return ends

    def _places(self, blocks: Tensor, first: Tensor, last: Tensor) -> Float[Tensor, "blocks pixels"]:
        """Where the nearest point of the line from one end to the other lies, 0 … 1."""
        line = (last - first)[:, None]
        along = ((blocks - first[:, None]) * line).sum(dim=-1)
        return (along / line.square().sum(dim=-1).clamp_min(_TINY)).clamp(0, 1)

    def _levels_of(self, colours: Tensor) -> Int[Tensor, "blocks channels"]:
        low, high = self.bounds.float()
        share = (colours - low) / (high - low).clamp_min(_TINY)
        return (share * (self.levels - 1)).round().clamp(0, self.levels - 1).long()

    def _colours(self, levels: Tensor) -> Float[Tensor, "blocks channels"]:
        low, high = self.bounds.float()
        return low + levels * ((high - low) / (self.levels - 1))

    def _runs(self, bits: Int[Tensor, "blocks pixels"]) -> Int[Tensor, "blocks runs"]:
        return (bits.unflatten(1, (-1, self.run)) * self._powers.on(bits.device)).sum(dim=-1)

    def _bits(self, runs: Int[Tensor, "blocks runs"]) -> Int[Tensor, "blocks pixels"]:
        """The inverse; what is missing has no bits."""
        powers = self._powers.on(runs.device)
        return (runs.clamp_min(0)[..., None].div(powers, rounding_mode="floor") % 2).flatten(1)

    def _fit(self, x: Tensor, iterations: int) -> None:
        self.bounds.copy_(torch.stack(list(x.aminmax())))


def _main_axis(square: Float[Tensor, "blocks channels channels"]) -> Float[Tensor, "blocks channels 1"]:
    """The eigenvector of the largest eigenvalue: a column of a high power. ``torch.linalg.eigh`` cannot be exported."""
    for _ in range(_SQUARINGS):
        square = square / square.diagonal(dim1=1, dim2=2).sum(dim=1).clamp_min(_TINY)[:, None, None]
        square = square @ square
    largest = square.diagonal(dim1=1, dim2=2).argmax(dim=1)[:, None, None].expand(-1, square.shape[1], 1)
    axis = square.gather(2, largest)
    return axis / axis.square().sum(dim=1, keepdim=True).sqrt().clamp_min(_TINY)
