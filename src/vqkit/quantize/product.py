"""Product quantization: cut the vector into pieces and quantize each."""

from collections.abc import Iterator, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.fast_stages import Ready, joined

__all__ = ["Product"]


class Product(Quantizer):
    """Concatenate the quantized consecutive pieces of the vector.

    With own codebooks give one quantizer a piece; with a shared one give it once, ``Product.shared(quantizer, num_pieces)``: its codebook
    then learns from all pieces together.

    Args:
        pieces: quantizers, different objects with equally many stages; together they cover the vector.
        repeats: how many consecutive pieces each of them serves.

    Raises:
        ValueError: no pieces, one object given twice, or different numbers of stages.

    Example:
        >>> import torch
        >>> from vqkit import VQ
        >>> own = Product([VQ(4, 16) for _ in range(3)])
        >>> shared = Product.shared(VQ(4, 16), 3)
        >>> own.dim, own.codebook_numel, shared.codebook_numel, shared.encode(torch.randn(2, 7, 12)).shape
        (12, 192, 64, torch.Size([2, 7, 3]))

    References:
        Jégou et al., "Product quantization for nearest neighbor search" (2010); IVQ eq. 7; LooC section 3.
    """

    def __init__(self, pieces: Sequence[Quantizer], *, repeats: int = 1) -> None:
        super().__init__()
        if len({id(piece) for piece in pieces}) != len(pieces) or not pieces:
            raise ValueError(
                "pieces must be different quantizers, at least one; share one with Product.shared(quantizer, num_pieces)"
            )
        if repeats < 1:
            raise ValueError(f"repeats must be a positive integer, got {repeats!r}")
        if len({piece.num_stages for piece in pieces}) != 1:
            raise ValueError(f"pieces must have equally many stages, got {[piece.num_stages for piece in pieces]}")
        self.pieces = cast("Sequence[Quantizer]", nn.ModuleList(pieces))
        self.repeats = repeats
        self._ready = Ready()
        self.dim = sum(piece.dim for piece in pieces) * repeats
        if any(piece.needs_grid for piece in pieces):
            raise ValueError(
                "a Product cuts single vectors, and its pieces cannot look at neighbours: put Interpolated around the Product, as LooC does"
            )
        self.straight_through = all(piece.straight_through for piece in pieces)

    @classmethod
    def shared(cls, quantizer: Quantizer, num_pieces: int) -> Self:
        """One quantizer for all of ``num_pieces`` pieces."""
        return cls([quantizer], repeats=num_pieces)

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Stage by stage, within a stage piece by piece."""
        sizes: list[int] = []
        for stage in range(self.pieces[0].num_stages):
            for piece in self.pieces:
                end = piece.stage_ends[stage]
                sizes += piece.code_sizes[end - piece.codes_per_stage[stage] : end] * self.repeats
        return tuple(sizes)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Sum over the pieces."""
        counts = [piece.codes_per_stage for piece in self.pieces]
        return tuple(sum(stage) * self.repeats for stage in zip(*counts, strict=True))

    @property
    def codebook_numel(self) -> int:
        """Sum over the pieces; a shared codebook counts once."""
        return sum(piece.codebook_numel for piece in self.pieces)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the first piece's codebook."""
        return self.pieces[0].dtype

    def _cut(self, x: Tensor, mask: Tensor | None) -> Iterator[tuple[Quantizer, Tensor, Tensor | None]]:
        """Each quantizer with its run (…, repeats, piece dim) and the mask of that."""
        runs = x.split([piece.dim * self.repeats for piece in self.pieces], dim=-1)
        real = None if mask is None else mask[..., None].expand(*mask.shape, self.repeats)
        for piece, run in zip(self.pieces, runs, strict=True):
            yield piece, run.unflatten(-1, (self.repeats, piece.dim)), real

    def _stage_major(self, codes: list[Tensor], stages: int) -> Tensor:
        """One (…, repeats, codes) a quantizer → (…, all codes)."""
        if stages == 1:
            return torch.cat([code.flatten(start_dim=-2) for code in codes], dim=-1)
        split = [
            code.split(piece.codes_per_stage[:stages], dim=-1) for piece, code in zip(self.pieces, codes, strict=True)
        ]
        return torch.cat([part[s].flatten(start_dim=-2) for s in range(stages) for part in split], dim=-1)

    def _piece_major(self, codes: Tensor, stages: int) -> list[Tensor]:
        """The inverse of `_stage_major`."""
        widths = [piece.codes_per_stage[s] for s in range(stages) for piece in self.pieces]
        blocks = codes.split([width * self.repeats for width in widths], dim=-1)
        blocks = [block.unflatten(-1, (self.repeats, width)) for block, width in zip(blocks, widths, strict=True)]
        return [torch.cat(blocks[p :: len(self.pieces)], dim=-1) for p in range(len(self.pieces))]

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        return self._joined_steps(x, mask, None)

    def _joined_steps(self, x: Tensor, mask: Tensor | None, chosen: list[Tensor] | None) -> Step:
        """The pieces' steps as one; each searches for itself, unless its codes were chosen already."""
        values: list[Tensor] = []
        codes: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        for index, (piece, run, real) in enumerate(self._cut(x, mask)):
            if chosen is None:
                z_q, piece_codes, losses = piece._quantize(run, real)
            else:
                z_q, piece_codes, losses = piece._quantize_to(run, real, chosen[index])
            values.append(z_q.flatten(start_dim=-2))
            codes.append(piece_codes)
            for name, value in losses.items():  # a piece counts by its share of the vector
                terms[name] = terms.get(name, 0) + value * (piece.dim * self.repeats / self.dim)
        return torch.cat(values, dim=-1), self._stage_major(codes, self.num_stages), terms

    def _quantize_to(self, x: Tensor, mask: Tensor | None, codes: Tensor) -> Step:
        return self._joined_steps(x, mask, self._piece_major(codes, self.num_stages))

    def _piece_codebooks(self) -> list[Codebook] | None:
        found = [piece._piece_codebooks() for piece in self.pieces]
        if any(books is None or len(books) > 1 for books in found) or len({piece.dim for piece in self.pieces}) > 1:
            return None
        return [books[0] for books in found if books for _ in range(self.repeats)]

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        codes = [piece._encode(run, real) for piece, run, real in self._cut(x, mask)]
        return self._stage_major(codes, self.num_stages)

    def _encode_first(self, x: Tensor, mask: Tensor | None, stages: int) -> Tensor:
        if type(self)._encode is not Product._encode:  # a subclass finds its codes in another way
            return super()._encode_first(x, mask, stages)
        codes = [piece._encode_first(run, real, stages) for piece, run, real in self._cut(x, mask)]
        return self._stage_major(codes, stages)

    def _encode_at_rate(self, x: Tensor, mask: Tensor | None, rate_weight: float, stages: int) -> Tensor:
        codes = [piece._encode_at_rate(run, real, rate_weight, stages) for piece, run, real in self._cut(x, mask)]
        return self._stage_major(codes, stages)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        found = joined(self, codes, self._ready) if self.num_stages == 1 else None
        return self._decode_plain(codes, stages) if found is None else found

    def _decode_plain(self, codes: Tensor, stages: int) -> Tensor:
        """The plain twin: each piece decodes for itself."""
        parts = zip(self.pieces, self._piece_major(codes, stages), strict=True)
        return torch.cat([piece._decode(part, stages).flatten(start_dim=-2) for piece, part in parts], dim=-1)

    def _fit(self, x: Tensor, iterations: int) -> None:
        for piece, run, _ in self._cut(x, None):
            piece._fit(run.reshape(-1, piece.dim), iterations)
