"""Residual quantization: each stage quantizes what the stages before it left."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.beam import cheapest_prefix, cut_to_stages
from vqkit.quantize.checks import positive, share
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.fast_stages import Ready, beam_prefixes, decoded, fast_stages, fused_codes, waits
from vqkit.quantize.inputs import finite_vectors, narrowed, zeroed
from vqkit.quantize.leaves import plain_leaves
from vqkit.quantize.residual_step import joint_step, plain_step
from vqkit.quantize.search import takes_plain_twins
from vqkit.quantize.stage_dropout import kept_stages, stage_weights
from vqkit.ranks import num_ranks

__all__ = ["Residual"]

_SHARED_ROUNDS = 4  # fits of shared stages to the inputs of all their places
_MAX_BEAM = 1024  # a saved config may name any number, and a search holds the scores of all codes for that many sets of a vector


class Residual(Quantizer):
    """z_q = Σ q_i(r_{i−1}), r_0 = z, r_i = r_{i−1} − q_i(r_{i−1}).

    Loss terms are means over stages, so their weight does not grow with the number of stages.

    Gradient: where every stage passes the gradient unchanged, so does the sum, once (not once a stage), and the losses of later stages
    reach the encoder. Otherwise (FSQ, projections) the chain rule runs through the residuals.

    Args:
        stages: quantizers of one dim, different objects.
        stage_dropout: in training, the share of batch elements that keep only a random number (1 … all) of the first stages; then the
            first stages alone decode well. Dropped stages have code −1.
        beam: sets of codes that the search keeps from stage to stage, in training as in `encode`; 1 is the greedy search. The codes
            decode as ever, so that a trained quantizer may be searched with another beam.
        repeats: how many times the list of stages is gone through, with the same codebooks; see `shared`.

    Raises:
        ValueError: no stages, different dims, one object given twice, a beam through stages that offer only their nearest code, or repeated
            stages that look at neighbours.

    Example:
        >>> import torch
        >>> from vqkit import VQ
        >>> q = Residual([VQ(8, 16), VQ(8, 16)]).eval()
        >>> codes = q.encode(torch.randn(1, 5, 8))
        >>> codes.shape, q.decode(codes, stages=1).shape
        (torch.Size([1, 5, 2]), torch.Size([1, 5, 8]))

    References:
        Chen et al., "Approximate nearest neighbor search by residual vector quantization" (2010); Zeghidour et al.,
        "SoundStream" (2021), arXiv:2107.03312 (dropout); Lee et al., "Autoregressive image generation using residual quantization"
        (RQ-VAE, 2022), arXiv:2203.01941, section 3.1 (shared codebook); IVQ eq. 6; for the beam see `vqkit.quantize.beam`.
    """

    _changeable_counts: ClassVar = {"beam": _MAX_BEAM}

    def __init__(
        self, stages: Sequence[Quantizer], *, stage_dropout: float = 0.0, beam: int = 1, repeats: int = 1
    ) -> None:
        super().__init__()
        if len({id(stage) for stage in stages}) != len(stages) or not stages:
            raise ValueError(
                f"stages must be different quantizers, at least one; got {len(stages)}, some of them the same object"
            )
        dims = [stage.dim for stage in stages]
        if len(set(dims)) != 1:
            raise ValueError(f"stages must have one dim, got {dims}")
        self.dim = dims[0]
        self.stages = cast("Sequence[Quantizer]", nn.ModuleList(stages))
        self.stage_dropout = share("stage_dropout", stage_dropout)
        self.beam = positive("beam", beam)
        if beam > _MAX_BEAM:
            raise ValueError(f"beam must be at most {_MAX_BEAM}, got {beam}")
        if beam > 1 and all(stage.max_candidates == 1 for stage in stages):
            kinds = ", ".join(sorted({type(stage).__name__ for stage in stages}))
            raise ValueError(f"beam={beam} needs stages that offer several codes for a vector, as VQ does; got {kinds}")
        self.repeats = positive("repeats", repeats)
        if repeats > 1 and any(stage.needs_grid for stage in stages):
            raise ValueError(
                "repeated stages see single vectors, and cannot look at neighbours: put Interpolated around the Residual"
            )
        self.straight_through = all(stage.straight_through for stage in stages)
        self.needs_grid = any(stage.needs_grid for stage in stages)
        self._ready = Ready()

    @classmethod
    def shared(cls, quantizer: Quantizer, num_stages: int, *, stage_dropout: float = 0.0, beam: int = 1) -> Self:
        """One codebook for all of ``num_stages`` stages; in a training step it learns once, from what all stages gave it.

        Example:
            >>> from vqkit import VQ
            >>> q = Residual.shared(VQ(8, 16), 4)
            >>> q.bits_per_vector, q.codebook_numel
            (16.0, 128)
        """
        return cls([quantizer], stage_dropout=stage_dropout, beam=beam, repeats=positive("num_stages", num_stages))

    @property
    def sequence(self) -> tuple[Quantizer, ...]:
        """The stages in the order of their codes, those that repeat as often as they do."""
        return tuple(self.stages) * self.repeats

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabets of all stages, concatenated."""
        return tuple(size for stage in self.sequence for size in stage.code_sizes)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """Codes of each part of all stages, concatenated."""
        return tuple(count for stage in self.sequence for count in stage.codes_per_stage)

    @property
    def code_density(self) -> tuple[float, ...]:
        """Share of the positions that have each code, of all stages."""
        return tuple(share for stage in self.sequence for share in stage.code_density)

    @property
    def codebook_numel(self) -> int:
        """Sum over the stages; one that is used several times counts once."""
        return sum(stage.codebook_numel for stage in self.stages)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the first stage's codebook."""
        return self.sequence[0].dtype

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        kept = self._kept_stages(x)
        if self.repeats > 1 and self.training and not torch.compiler.is_compiling():
            self._start(x.detach(), mask, kept)
        stages = self.sequence
        weights = None if kept is None or num_ranks() == 1 else stage_weights(kept, len(stages), mask, x)
        found = self._chosen(x, mask, kept, stages)
        chosen = None if found is None else self._by_stage(found)
        real = [mask if kept is None else narrowed(mask, kept > index, x) for index in range(len(stages))]
        leaves = None if takes_plain_twins() else plain_leaves(stages, chosen is not None)
        if leaves is not None:
            return joint_step(leaves, x, mask, chosen, real, weights)
        return plain_step(stages, x, mask, chosen, real, weights)

    def _kept_stages(self, x: Tensor) -> Tensor | None:
        """Stages each batch element keeps, or None when all keep all."""
        return kept_stages(x, len(self.sequence), self.stage_dropout) if self.training else None

    def _chosen(
        self, x: Tensor, mask: Tensor | None, kept: Tensor | None, sequence: Sequence[Quantizer], finite: bool = True
    ) -> Tensor | None:
        """Codes of a sequence of stages, by beam search or from plain tables; None where they search for themselves, one by one."""
        # without `finite`, which a beam needs, a search of plain tables on the CPU refuses NaN and Inf
        if self.beam == 1:
            if torch.compiler.is_compiling() or (self.training and waits(self)):
                return None
            fast = fast_stages(self, self.sequence, x, self._ready)
            flat = x.detach().reshape(-1, self.dim)
            found = fused_codes(sequence, flat) if fast is None else fast.first(len(sequence)).search(flat, finite)
            return None if found is None else found.view(*x.shape[:-1], found.shape[-1])
        if self.training and not torch.compiler.is_compiling():
            self._start(x.detach(), mask, kept)
        with torch.no_grad():
            prefixes, _ = beam_prefixes(self, self.sequence, len(sequence), x, self.beam, self._ready, kept is not None)
            if kept is None:
                codes = prefixes[-1]
            else:
                number = kept.reshape(-1, *[1] * (x.ndim - 2)).expand(x.shape[:-1])
                codes = cut_to_stages(prefixes, number.reshape(-1))
        return codes.reshape(*x.shape[:-1], codes.shape[-1])

    def _by_stage(self, codes: Tensor) -> Sequence[Tensor]:
        return codes.split([sum(stage.codes_per_stage) for stage in self.sequence], dim=-1)

    @torch.no_grad()
    def _start(self, x: Tensor, mask: Tensor | None, kept: Tensor | None = None) -> None:
        """Start the codebooks that wait, each from what the stages before it leave; without a start a beam has nothing to search."""
        start = x
        waiting = [module for module in self.modules() if isinstance(module, Codebook) and module.waits()]
        if not waiting:
            return
        inputs: list[tuple[Tensor, Tensor | None]] = []
        # shared codebooks start anew from the inputs of all their stages
        for _ in range(1 if self.repeats == 1 else 2):
            for index, stage in enumerate(self.stages):
                if inputs:
                    parts = inputs[index :: len(self.stages)]
                    reals = [real for _, real in parts if real is not None]
                    stage._start(
                        torch.stack([part for part, _ in parts], dim=-2), torch.stack(reals, dim=-1) if reals else None
                    )
                else:
                    real = mask if kept is None else narrowed(mask, kept > index, x)
                    stage._start(zeroed(x, real), real)
                    x = x - stage._decode(stage._encode(x, real), stage.num_stages)
            if self.repeats > 1 and not inputs and not any(module.waits() for module in waiting):
                inputs = self._inputs(start, mask, kept)
                for module in waiting:
                    module.initialized.fill_(False)

    def _encode_at_rate(self, x: Tensor, mask: Tensor | None, rate_weight: float, stages: int) -> Tensor:
        if self.needs_grid:
            raise ValueError(
                "rate_weight chooses stages for single vectors, which a stage that looks at neighbours is not"
            )
        sequence = self._needed(stages)
        prefixes, errors = beam_prefixes(self, self.sequence, len(sequence), x, self.beam, self._ready, True)
        last = [end - 1 for end in accumulate(stage.num_stages for stage in sequence)]
        codes = cut_to_stages(prefixes, cheapest_prefix(errors, [self.stage_bits[i] for i in last], rate_weight))
        codes = self.first_stages(codes.reshape(*x.shape[:-1], codes.shape[-1]), stages)
        return codes if mask is None else torch.where(mask[..., None], codes, -1)

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self._encode_sequence(x, mask, self.sequence)

    def _encode_unchecked(self, x: Tensor, mask: Tensor | None) -> Tensor:
        # searches on the CPU refuse NaN and Inf themselves; a beam does not, and a subclass may find its codes in another way
        if self.beam > 1 or x.device.type != "cpu" or type(self)._encode is not Residual._encode:
            return super()._encode_unchecked(x, mask)
        return self._encode_sequence(x, mask, self.sequence, finite=False)

    def _encode_first(self, x: Tensor, mask: Tensor | None, stages: int) -> Tensor:
        if type(self)._encode is not Residual._encode:  # a subclass finds its codes in another way
            return super()._encode_first(x, mask, stages)
        return self.first_stages(self._encode_sequence(x, mask, self._needed(stages)), stages)

    def _needed(self, stages: int) -> tuple[Quantizer, ...]:
        """The quantizers that the first so many stages need; the last may have stages of its own, and more than asked for."""
        ends = accumulate(stage.num_stages for stage in self.sequence)
        return self.sequence[: 1 + sum(end < stages for end in ends)]

    def _encode_sequence(
        self, x: Tensor, mask: Tensor | None, sequence: Sequence[Quantizer], finite: bool = True
    ) -> Tensor:
        chosen = self._chosen(x, mask, None, sequence, finite)
        if chosen is not None:
            return chosen if mask is None else torch.where(mask[..., None], chosen, -1)
        return self._encode_plain(x if finite else finite_vectors(x), mask, sequence)

    def _encode_plain(self, x: Tensor, mask: Tensor | None, sequence: Sequence[Quantizer] | None = None) -> Tensor:
        """The plain twin: every stage searches what the stages before it left."""
        codes = []
        for stage in self.sequence if sequence is None else sequence:
            codes.append(stage._encode(x, mask))
            x = x - stage._decode(codes[-1], stage.num_stages)
        return torch.cat(codes, dim=-1)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        found = decoded(self, self.sequence, codes, stages, self._ready)
        return self._decode_plain(codes, stages) if found is None else found

    def _decode_plain(self, codes: Tensor, stages: int) -> Tensor:
        """The plain twin: one look-up a stage, and their sum."""
        total = torch.zeros(*codes.shape[:-1], self.dim, dtype=torch.float32, device=codes.device)
        for stage in self.sequence:
            if stages > 0:
                use = min(stages, stage.num_stages)
                own, codes = codes.tensor_split([(0, *stage.stage_ends)[use]], dim=-1)
                total = total + stage._decode(own, use)
                stages -= use
        return total

    def _inputs(self, x: Tensor, mask: Tensor | None, kept: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
        """What each stage gets to see, with the mask of what is real there."""
        inputs = []
        for index, stage in enumerate(self.sequence):
            real = mask if kept is None else narrowed(mask, kept > index, x)
            inputs.append((zeroed(x, real), real))
            x = x - stage._decode(stage._encode(x, real), stage.num_stages)
        return inputs

    def _fit(self, x: Tensor, iterations: int) -> None:
        left = x
        for stage in self.stages:
            stage._fit(left, iterations)
            left = left - stage._decode(stage._encode(left, None), stage.num_stages)
        if self.repeats > 1:
            self._fit_shared(x, iterations)

    def _fit_shared(self, x: Tensor, iterations: int) -> None:
        """Fit each stage to the inputs of all its places, a few times over, since these depend on it; the best round stays."""
        best = torch.inf
        kept: dict[str, Tensor] = {}
        for _ in range(_SHARED_ROUNDS):
            inputs = [part for part, _ in self._inputs(x, None, None)]
            for index, stage in enumerate(self.stages):
                seen = torch.cat(inputs[index :: len(self.stages)])
                stage._fit(seen[torch.randperm(len(seen), device=x.device)[: 2 * len(x)]], iterations)
            error = (self._decode(self._encode(x, None), self.num_stages) - x).square().mean().item()
            if error < best:
                best, kept = error, {name: value.clone() for name, value in self.state_dict().items()}
        self.load_state_dict(kept)

    @property
    def _fits_fields(self) -> bool:
        return self.needs_grid

    def _fit_fields(self, fields: list[Tensor], **options: Any) -> None:
        for stage in self.sequence:
            stage.fit(fields, **options)
            fields = [x - stage._decode(stage._encode(x, None), stage.num_stages) for x in fields]
