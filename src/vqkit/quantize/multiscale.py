"""Quantization over grids of several sizes: from the coarsest to the finest, each of what the coarser ones left."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.cells import Cells, finest, from_blocks, to_blocks
from vqkit.quantize.checks import one_of, positive
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.losses import masked_mean
from vqkit.quantize.packing import Packing
from vqkit.quantize.smoothing import Smoothing
from vqkit.quantize.straight_through import straight_through

__all__ = ["Multiscale"]

_SHARED_ROUNDS = 3  # fits of a shared quantizer to the inputs of all scales


class Multiscale(Quantizer):
    """r_0 = z; for each scale k: v_k = φ_k(up(q_k(down(r_{k−1})))), r_k = r_{k−1} − v_k; z_q = Σ v_k.

    ``sizes`` says how many cells each scale has along every axis of a block; a block is as long as the last of them, and the last scale
    has a code at every position. SNAC's frame rates at strides 8, 4, 2, 1 are ``sizes=(1, 2, 4, 8)``; VAR's grids of a 16×16 latent are
    ``sizes=(1, 2, 3, 4, 5, 6, 8, 10, 13, 16)`` with ``spatial_dims=2``, ``upsample="cubic"``, ``smoothing=4`` and one shared quantizer.
    A longer signal or a larger image is a row of blocks, so that what a block's codes say does not depend on how many blocks there are.

    Codes are (batch, *spatial, num_codes), scale after scale. The code of a coarse cell stands at its first position, and its other
    positions have −1, so that masks, usage and rates count what is there. `pack` makes one vector of codes of every block, without −1,
    for a ``.vqk`` file or a language model; `unpack` is its inverse. An exported graph takes grids longer than one block.

    Args:
        scales: one quantizer for each size, or one that all share, which then learns from all scales together.
        sizes: cells along each axis of a block, ascending.
        spatial_dims: axes of the grid: 1 (sequence), 2 (map) or 3 (volume).
        upsample: ``"repeat"`` (SNAC), ``"linear"`` or ``"cubic"`` (VAR).
        smoothing: number of learned 3^n convolutions that scales share in groups (VAR's φ: ½ identity, ½ convolution); 0 for none.
        smoothing_weight: weight of ‖sg z − Σ_{j≤k} v_j‖², which teaches the convolutions; a mean over scales.

    Raises:
        ValueError: an argument out of range, or quantizers that look at neighbours.

    Example:
        >>> import torch
        >>> from vqkit import VQ
        >>> q = Multiscale([VQ(8, 16), VQ(8, 16), VQ(8, 16)], sizes=(1, 2, 4)).eval()
        >>> codes = q.encode(torch.randn(1, 8, 8))
        >>> (codes >= 0).int()[0].T.tolist()
        [[1, 0, 0, 0, 1, 0, 0, 0], [1, 0, 1, 0, 1, 0, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1]]
        >>> q.bits_per_vector, q.pack(codes).shape, torch.equal(q.unpack(q.pack(codes), (8,)), codes)
        (7.0, torch.Size([1, 2, 7]), True)

    References:
        Tian et al., "Visual autoregressive modeling" (VAR, 2024), arXiv:2404.02905, algorithms 1 and 2; Siuzdak et al., "SNAC:
        multi-scale neural audio codec" (2024), arXiv:2410.14411, section 3.1.
    """

    needs_grid = True

    def __init__(
        self,
        scales: Sequence[Quantizer],
        *,
        sizes: Sequence[int],
        spatial_dims: int = 1,
        upsample: str = "repeat",
        smoothing: int = 0,
        smoothing_weight: float = 1.0,
    ) -> None:
        super().__init__()
        sizes = tuple(positive("sizes", size) for size in sizes)
        if not sizes or list(sizes) != sorted(set(sizes)):
            raise ValueError(f"sizes must ascend, got {list(sizes)!r}")
        if spatial_dims not in (1, 2, 3):
            raise ValueError(f"spatial_dims must be 1, 2 or 3, got {spatial_dims!r}")
        if len(scales) not in (1, len(sizes)) or len({id(scale) for scale in scales}) != len(scales):
            raise ValueError(
                f"scales must be one quantizer or {len(sizes)} different ones, one a size; got {len(scales)}"
            )
        if len({scale.dim for scale in scales}) != 1:
            raise ValueError(f"scales must have one dim, got {[scale.dim for scale in scales]}")
        if any(scale.needs_grid for scale in scales):
            raise ValueError("scales quantize single cells: put Interpolated around the Multiscale")
        if isinstance(smoothing, bool) or not 0 <= smoothing <= len(sizes):
            raise ValueError(f"smoothing must be in 0 … {len(sizes)}, got {smoothing!r}")
        self.dim = scales[0].dim
        self.scales = cast("Sequence[Quantizer]", nn.ModuleList(scales))
        self.sizes, self.spatial_dims = sizes, spatial_dims
        self.smoothing_weight = smoothing_weight
        one_of("upsample", upsample, ("repeat", "linear", "cubic"))
        self._cells = [Cells(size, self.block, spatial_dims, upsample) for size in sizes]
        self.smoothing = Smoothing(self.dim, smoothing, len(sizes), spatial_dims) if smoothing else None
        self.straight_through = all(scale.straight_through for scale in scales)

    @property
    def sequence(self) -> tuple[Quantizer, ...]:
        """The quantizer of each scale."""
        return tuple(self.scales) if len(self.scales) > 1 else (self.scales[0],) * len(self.sizes)

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabets of all scales, concatenated."""
        return tuple(size for scale in self.sequence for size in scale.code_sizes)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Codes of each stage of all scales, concatenated."""
        return tuple(count for scale in self.sequence for count in scale.codes_per_stage)

    @property
    def code_density(self) -> tuple[float, ...]:
        """Cells of a scale over positions."""
        positions = self.block**self.spatial_dims
        return tuple(
            cells.count / positions * share
            for cells, scale in zip(self._cells, self.sequence, strict=True)
            for share in scale.code_density
        )

    @property
    def codebook_numel(self) -> int:
        """Sum over the scales; a shared quantizer counts once."""
        return sum(scale.codebook_numel for scale in self.scales)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the first scale's codebook."""
        return self.scales[0].dtype

    # --- the search

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        inside = self._inside(x, mask)
        if len(self.scales) == 1 and self.training and not torch.compiler.is_compiling():
            self._start(x.detach(), mask)
        left, total = x, torch.zeros_like(x)
        codes: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        for index, scale in enumerate(self.sequence):
            pooled, there = self._pooled(index, left, inside)
            z_q, cell_codes, losses = scale._quantize(pooled, there)
            value = self._value(index, z_q.detach() if self.straight_through else z_q, there, inside, x.shape)
            left, total = left - (value.detach() if self.straight_through else value), total + value
            codes.append(self._cells[index].placed(cell_codes, inside))
            for name, loss in losses.items():
                terms[name] = terms.get(name, 0) + loss / len(self.sizes)
            if self.smoothing is not None and self.smoothing_weight:
                loss = masked_mean((x.detach() - total).square(), mask) * self.smoothing_weight / len(self.sizes)
                terms["smoothing"] = terms.get("smoothing", 0) + loss
        if self.straight_through:
            total = straight_through(x, total)
        return total, from_blocks(torch.cat(codes, dim=-1), x.shape[1:-1], self.block), terms

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        inside = self._inside(x, mask)
        shape = x.shape
        codes = []
        for index, scale in enumerate(self.sequence):
            pooled, there = self._pooled(index, x, inside)
            found = scale._encode(pooled, there)
            codes.append(self._cells[index].placed(found, inside))
            x = x - self._value(index, scale._decode(found, scale.num_stages), there, inside, shape)
        return from_blocks(torch.cat(codes, dim=-1), shape[1:-1], self.block)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        if codes.ndim != self.spatial_dims + 2:
            raise ValueError(
                f"codes must have {self.spatial_dims} spatial dims (spatial_dims={self.spatial_dims}), got shape {tuple(codes.shape)}"
            )
        shape = (*codes.shape[:-1], self.dim)
        blocks, within = to_blocks(codes, self.block, self.spatial_dims)
        parts = []
        for index, scale in enumerate(self.sequence):
            if stages > 0:
                use = min(stages, scale.num_stages)
                own, blocks = blocks.tensor_split([scale.stage_ends[use - 1]], dim=-1)
                # what lies beyond the grid repeats its end
                parts.append((scale, use, self._cells[index].gathered(torch.where(within[..., None], own, -1))))
                stages -= use
        held = [cells.held(found) for cells, (_, _, found) in zip(self._cells, parts, strict=False)]
        real = finest(held) & within
        total = torch.zeros(shape, dtype=torch.float32, device=codes.device)
        for index, (scale, use, found) in enumerate(parts):
            value = self._value(index, scale._decode(found, use), (found >= 0).any(dim=-1), real, shape)
            # where codes of this scale were dropped it adds nothing, not even the bias of its smoothing
            total = total + torch.where(from_blocks(held[index], shape[1:-1], self.block)[..., None], value, 0.0)
        return total

    def _inside(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Real positions, in blocks."""
        if x.ndim != self.spatial_dims + 2:
            raise ValueError(
                f"z must have {self.spatial_dims} spatial dims (spatial_dims={self.spatial_dims}), got shape {tuple(x.shape)}"
            )
        real = torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device) if mask is None else mask
        blocks, within = to_blocks(real, self.block, self.spatial_dims)
        return blocks & within

    def _pooled(self, index: int, x: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        return self._cells[index].pooled(to_blocks(x, self.block, self.spatial_dims)[0], inside)

    def _value(self, index: int, cells: Tensor, there: Tensor, inside: Tensor, shape: Sequence[int]) -> Tensor:
        """What a scale adds, on the grid; 0 where nothing is real."""
        blocks = self._cells[index].spread(cells, there)
        value = from_blocks(torch.where(inside[..., None], blocks, 0.0), tuple(shape[1:-1]), self.block)
        if self.smoothing is None:
            return value
        real = from_blocks(inside, tuple(shape[1:-1]), self.block)
        return torch.where(real[..., None], self.smoothing(value, index), 0.0)

    # --- start and fit

    @torch.no_grad()
    def _start(self, x: Tensor, mask: Tensor | None) -> None:
        if not any(isinstance(module, Codebook) and module.waits() for module in self.modules()):
            return
        inside = self._inside(x, mask)
        if len(self.scales) == 1:  # from the inputs of all scales: the coarsest has few cells
            cells = self._inputs(x, inside, coded=False)
            both = torch.cat([part for part, _ in cells], dim=-2), torch.cat([there for _, there in cells], dim=-1)
            self.scales[0]._start(*both)
            return
        for index, scale in enumerate(self.scales):
            pooled, there = self._pooled(index, x, inside)
            scale._start(pooled, there)
            found = scale._decode(scale._encode(pooled, there), scale.num_stages)
            x = x - self._value(index, found, there, inside, x.shape)

    def _inputs(self, x: Tensor, inside: Tensor, *, coded: bool) -> list[tuple[Tensor, Tensor]]:
        """What each scale gets to see; where nothing is coded yet, as though coarser scales had no error."""
        inputs = []
        for index, scale in enumerate(self.sequence):
            pooled, there = self._pooled(index, x, inside)
            inputs.append((pooled, there))
            found = scale._decode(scale._encode(pooled, there), scale.num_stages) if coded else pooled
            x = x - self._value(index, found, there, inside, x.shape)
        return inputs

    _fits_fields = True

    def _fit(self, x: Tensor, iterations: int) -> None:
        raise NotImplementedError  # `fit` calls `_fit_fields`

    def _fit_fields(self, fields: list[Tensor], **options: Any) -> None:
        if len(self.scales) == 1:
            self._fit_shared(fields, options)
            return
        left = fields
        for index, scale in enumerate(self.scales):
            pools = [self._pooled(index, x, self._inside(x, None)) for x in left]
            scale.fit([pooled[there] for pooled, there in pools], **options)
            left = [
                x - self._value(
                    index, scale._decode(scale._encode(*pool), scale.num_stages), pool[1], self._inside(x, None), x.shape
                )
                for x, pool in zip(left, pools, strict=True)
            ]  # fmt: skip

    def _fit_shared(self, fields: list[Tensor], options: dict[str, Any]) -> None:
        """Fit to the inputs of all scales, a few times over, since these depend on the codes; the best round stays."""
        best = torch.inf
        kept: dict[str, Tensor] = {}
        for number in range(_SHARED_ROUNDS):
            inputs = [pair for x in fields for pair in self._inputs(x, self._inside(x, None), coded=number > 0)]
            self.scales[0].fit([pooled[there] for pooled, there in inputs], **options)
            left = [(self._decode(self._encode(x, None), self.num_stages) - x).square().sum() for x in fields]
            error = float(torch.stack(left).sum())
            if error < best:
                best, kept = error, {name: value.clone() for name, value in self.state_dict().items()}
        self.load_state_dict(kept)

    # --- one vector of codes a block

    @property
    def block(self) -> int:
        """The last of the sizes."""
        return self.sizes[-1]

    @property
    def packed_sizes(self) -> tuple[int, ...]:
        """Alphabet of each code of a packed block."""
        return self._packing.sizes

    @property
    def packed_per_stage(self) -> tuple[int, ...]:
        """Codes of each stage of a packed block."""
        return self._packing.per_stage

    def pack(self, codes: Tensor) -> Tensor:
        """One vector of codes of each block, see `vqkit.quantize.packing`; cells beyond the end of the grid get the code 0."""
        return self._packing.pack(self._checked_codes(codes, None)[0])

    def unpack(self, packed: Tensor, size: Sequence[int]) -> Tensor:
        """The codes of `pack`, of a grid of this size."""
        return self._packing.unpack(packed, size)

    @property
    def _packing(self) -> Packing:
        scales = zip(self._cells, self.sequence, strict=True)
        cells = [cells for cells, scale in scales for _ in range(scale.num_stages)]
        return Packing(cells, self.code_sizes, self.codes_per_stage, self.block, self.spatial_dims)

    def extra_repr(self) -> str:
        """Sizes and rate."""
        return f"sizes={self.sizes}, {super().extra_repr()}"
