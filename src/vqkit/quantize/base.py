"""The contract every quantizer keeps.

`Quantizer` checks the input, runs the search and the sums in float32, applies the mask and the dtypes, and leaves to a subclass four
private methods on float32 tensors. In evaluation ``forward(z).z_q == decode(encode(z))`` bit for bit, because both look the same codes
up in the same way.

Conventions
    ``z`` is (batch, *spatial, dim); codes are (batch, *spatial, num_codes), stage-major, then piece-major, then sub-position.
    Masked positions and dropped stages have code −1, which decodes to zeros.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from vqkit.counts import check_numbers, check_rate_weight, check_stages
from vqkit.quantize import pretrained
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.inputs import checked_codes, checked_vectors, finite_vectors, full_precision
from vqkit.quantize.layout import CodeLayout
from vqkit.quantize.learning import Learner, Step
from vqkit.quantize.losses import rank_weight
from vqkit.quantize.memo import OfParts
from vqkit.quantize.sampling import first_fields, sample_rows
from vqkit.ranks import num_ranks, own_rank
from vqkit.types import Bool, Float, Int, Quantized

__all__ = ["Quantizer", "Step"]


class Quantizer(Learner, CodeLayout):  # this order: fully_shard changes the class, which needs the layout of a module
    """A map from vectors to a few integers and back.

    A subclass sets ``dim`` and ``straight_through`` and implements `code_sizes`, `codes_per_stage`, `codebook_numel`, `dtype`,
    `_quantize`, `_encode`, `_decode` and `_fit`; the rest is here. CONTRIBUTING shows a complete one. What `code_sizes` and
    `codes_per_stage` say follows from the constructor's arguments, for `decode` asks them once.

    Attributes:
        dim: length of the vectors.
        straight_through: whether the gradient passes from z_q to z unchanged.
        needs_grid: whether it looks at the neighbours of a vector, so that single vectors do not suffice.
        check_training_input: refuse NaN and Inf in training too (evaluation always does); costs a device sync a step.
    """

    dim: int
    straight_through: bool = True
    needs_grid: bool = False
    check_training_input: bool = True

    has_settings: ClassVar[bool] = True  # for `pretrained`, which knows quantizers by it

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the constructor's arguments: they are what `save_pretrained` writes."""
        self = super().__new__(cls)
        self.__dict__["_arguments"] = pretrained.bound_arguments(cls, args, kwargs)
        return self

    def __init__(self) -> None:
        super().__init__()
        self._layout: OfParts[tuple[tuple[int, ...], tuple[int, ...]]] = OfParts()

    # --- what a subclass defines

    @property
    @abstractmethod
    def codebook_numel(self) -> int:
        """Floats stored in codebooks (projections are not counted)."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Dtype of the codebook, which `decode` returns."""

    @abstractmethod
    def _encode(
        self, x: Float[Tensor, "*shape dim"], mask: Bool[Tensor, "*shape"] | None
    ) -> Int[Tensor, "*shape codes"]:
        """Only the codes; changes nothing."""

    @abstractmethod
    def _decode(self, codes: Int[Tensor, "*shape codes"], stages: int) -> Float[Tensor, "*shape dim"]:
        """Float32 vectors of the codes of the first ``stages`` stages."""

    @abstractmethod
    def _fit(self, x: Float[Tensor, "vectors dim"], iterations: int) -> None:
        """Fit offline to float32 vectors."""

    # --- what a subclass may offer beside

    @property
    def max_candidates(self) -> int:
        """Number of different codes that a search can offer for one vector; 1 where it knows only the best."""
        return 1

    def _candidates(
        self, x: Float[Tensor, "vectors dim"], count: int
    ) -> tuple[Int[Tensor, "vectors candidates codes"], Float[Tensor, "vectors candidates"]]:
        """Candidates of every vector in any order, and their squared errors: the best ``count``, as far as there are, maybe others."""
        codes = self._encode(x, None)
        error = (x - self._decode(codes, self.num_stages)).square().sum(dim=-1)
        return codes[:, None], error[:, None]

    def _start(self, x: Float[Tensor, "*shape dim"], mask: Bool[Tensor, "*shape"] | None) -> None:
        """Start codebooks that wait for their first batch, and learn nothing else."""

    def _quantize_to(self, x: Tensor, mask: Tensor | None, codes: Int[Tensor, "*shape codes"]) -> Step:
        """`_quantize` with codes that were chosen already; only what offers candidates needs it."""
        return self._quantize(x, mask)

    def _piece_codebooks(self) -> list[Codebook] | None:
        """Codebooks of consecutive equal pieces, where this is one stage that takes each piece's nearest code and nothing else."""
        return None

    # `_encode` of vectors that may have NaN or Inf, which it refuses: a search that sees them itself spares a pass over its input
    def _encode_unchecked(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self._encode(finite_vectors(x), mask)

    def _encode_first(self, x: Tensor, mask: Tensor | None, stages: int) -> Tensor:
        return self.first_stages(self._encode(x, mask), stages)

    def _encode_at_rate(self, x: Tensor, mask: Tensor | None, rate_weight: float, stages: int) -> Tensor:
        raise ValueError(f"{type(self).__name__} has no stages to leave out: rate_weight needs a Residual, as in RVQ")

    # --- what every quantizer offers

    @property
    def codebooks(self) -> tuple[Tensor, ...]:
        """Tables (codes, dim) of all codebooks, in the order of construction; empty where the codes are a grid."""
        found: list[Tensor] = []
        for module in self.modules():
            if isinstance(module, Codebook):
                found.append(module.weight)
            elif isinstance(module, Quantizer):
                found += module._own_tables()
        return tuple(found)

    def _own_tables(self) -> list[Tensor]:
        """Tables that this quantizer itself holds, beside the `Codebook` modules."""
        return []

    def forward(self, z: Float[Tensor, "*shape dim"], mask: Bool[Tensor, "*shape"] | None = None) -> Quantized:
        """Quantize, with a straight-through gradient and the losses; in training mode also learn.

        Args:
            z: (batch, *spatial, dim), any floating dtype.
            mask: (batch, *spatial) of bool, True = real. Elsewhere z_q is 0 and the code −1, and nothing is learned.

        Returns:
            `Quantized`, z_q in z's dtype. With several ranks the average over ranks of a loss is that of their joint batch, so that
            DDP's gradient is that of one process; then a step in training is a step of all ranks.

        Raises:
            TypeError: z is not floating, or mask is not bool.
            ValueError: wrong shape, or NaN or Inf at a real position.
            RuntimeError: activation checkpointing runs the forward of a learning codebook again, see `defer_learning`.
        """
        return self._run(z, mask, lambda x: [self._quantize(x, mask)])[0]

    def _run(self, z: Tensor, mask: Tensor | None, quantize: Callable[[Tensor], list[Step]]) -> list[Quantized]:
        """A forward with whatever quantizes the checked float32 vectors, in one step or in several that add up."""
        x = self._checked(z, mask, finite=self.check_training_input or not self.training)
        if self._gathered is not None and self.training:
            self._keep_input(x, mask)
        with full_precision(z.device):
            if self.training:
                self._forget_steps()
            steps = quantize(x)
            if self.training:
                self._learn_steps()
            weight = None
            if self.training and num_ranks() > 1 and any(losses for _, _, losses in steps):
                weight = rank_weight(torch.tensor(x[..., 0].numel(), device=x.device) if mask is None else mask.sum())
            return [self._result(z, x, step, weight) for step in steps]

    def _result(self, z: Tensor, x: Tensor, step: Step, weight: Tensor | None) -> Quantized:
        z_q, codes, losses = step
        if weight is not None:
            losses = {name: value * weight for name, value in losses.items()}
        loss = torch.stack(list(losses.values())).sum() if losses else x.new_zeros(())
        return Quantized(z_q.to(self.dtype).to(z.dtype), codes, loss, losses)

    @torch.no_grad()
    def encode(
        self,
        z: Float[Tensor, "*shape dim"],
        mask: Bool[Tensor, "*shape"] | None = None,
        *,
        rate_weight: float | None = None,
        stages: int | None = None,
    ) -> Int[Tensor, "*shape codes"]:
        """Codes of z, int64 (batch, *spatial, num_codes). Never changes state.

        Args:
            z: (batch, *spatial, dim), any floating dtype.
            mask: (batch, *spatial) of bool, True = real.
            rate_weight: λ ≥ 0 spends bits where they help: every vector keeps the n ≥ 1 stages with the least ‖z − ẑ_n‖² + λ·bits_n,
                and its later codes are −1. By default all stages stay, and always with `rate_weights`.
            stages: only the first so many; all by default. The search, and the choice by rate_weight, are among them.

        Raises:
            TypeError: z is not floating, or mask is not bool.
            ValueError: wrong shape, NaN or Inf at a real position, a negative λ, or a λ or number of stages where there are none such.
        """
        x = self._checked(z, mask, finite=rate_weight is not None or stages is not None)
        check_rate_weight(rate_weight)
        if stages is not None:
            check_stages(stages, self.num_stages)
        with full_precision(z.device):
            if rate_weight is not None:
                return self._encode_at_rate(x, mask, rate_weight, self.num_stages if stages is None else stages)
            return self._encode_unchecked(x, mask) if stages is None else self._encode_first(x, mask, stages)

    def decode(
        self, codes: Int[Tensor, "*shape codes"], stages: int | None = None, *, gradient: bool = False
    ) -> Float[Tensor, "*shape dim"]:
        """Vectors of codes, in the dtype of the codebook; −1 gives zeros.

        Args:
            codes: (batch, *spatial, num_codes), or only the codes of the first stages.
            stages: decode only the first so many stages; all that ``codes`` holds by default.
            gradient: let gradients reach the codebooks (those with ``update="gradient"``) and projections.

        Raises:
            TypeError: codes are not integers.
            ValueError: a code out of range, or a number of codes or stages that does not exist.
        """
        codes, stages = self._checked_codes(codes, stages)
        with (
            torch.set_grad_enabled(gradient and torch.is_grad_enabled()),
            full_precision(codes.device),
        ):
            return self._decode(codes, stages).to(self.dtype)

    @torch.no_grad()
    def fit(
        self,
        vectors: Tensor | Iterable[Tensor],
        *,
        max_vectors: int = 1 << 17,
        iterations: int = 25,
        seed: int = 0,
        joint: bool = False,
    ) -> Self:
        """Fit offline, without gradients: k-means stage by stage, or a projection where there is no codebook.

        By default a fit is this process's own: one rank alone may call it (and DDP hands on what it found), and all ranks find the same
        from the same vectors.

        Args:
            vectors: (…, dim), or an iterable of such tensors; of more than ``max_vectors`` a uniform sample is kept. A stage of a
                `Residual` that looks at neighbours cannot be fitted to single vectors: then the first whole tensors that hold
                ``max_vectors`` serve all stages.
            max_vectors: most vectors used.
            iterations: k-means iterations of each codebook.
            seed: seed of the sample and of k-means; the global generator is left as it was.
            joint: fit to the vectors of all ranks together, with the same result on each; then every rank has to call.

        Returns:
            The quantizer itself.

        Raises:
            ValueError: no vectors, wrong dim, NaN or Inf.
            RuntimeError: ``fully_shard`` has split the codebook already.

        Example:
            >>> import torch
            >>> from vqkit import RVQ
            >>> q = RVQ(dim=4, codebook_size=8, num_quantizers=2).fit(torch.randn(256, 4))
            >>> q.encode(torch.randn(1, 10, 4)).shape
            torch.Size([1, 10, 2])
        """
        check_numbers(max_vectors=max_vectors, iterations=iterations)
        checked = (self._checked(z, None, finite=True) for z in ([vectors] if isinstance(vectors, Tensor) else vectors))
        if self._fits_fields:
            fields = first_fields(checked, self._grid_dims, max_vectors)
            self._fit_fields(fields, max_vectors=max_vectors, iterations=iterations, seed=seed, joint=joint)
            return self
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
            torch.manual_seed(seed + own_rank() if joint else seed)
            sample = sample_rows((self._fit_rows(x) for x in checked), max_vectors, joint=joint)
            if joint:
                torch.manual_seed(seed)
            self._fit(sample, iterations)
        return self

    def save_pretrained(self, folder: str) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder; needs ``vqkit[train]`` for safetensors."""
        pretrained.save(self, folder)

    @classmethod
    def from_pretrained(cls, folder: str) -> Self:
        """Read what `save_pretrained` wrote. ``Quantizer.from_pretrained`` reads any of them.

        Raises:
            ValueError: not such a folder, another class, or weights that do not fit.
        """
        return pretrained.load(cls, folder)

    # --- shared by all

    def _fit_rows(self, x: Float[Tensor, "*shape dim"]) -> Float[Tensor, "vectors dim"]:
        return x.reshape(-1, x.shape[-1])

    @property
    def _fits_fields(self) -> bool:
        """Whether a fit needs whole tensors, since a part looks at neighbours of what other parts leave."""
        return False

    def _fit_fields(self, fields: list[Tensor], **options: Any) -> None:
        """Fit to whole tensors (items, *spatial, dim); the options are those of `fit`."""
        raise NotImplementedError

    def _checked(self, z: Tensor, mask: Tensor | None, finite: bool) -> Tensor:
        return checked_vectors(z, mask, self.dim, finite)

    def _checked_codes(self, codes: Tensor, stages: int | None) -> tuple[Tensor, int]:
        sizes, ends = self._layout.of(self, lambda: (self.code_sizes, self.stage_ends))
        return checked_codes(codes, stages, sizes, ends)

    def extra_repr(self) -> str:
        """Rate and size, for ``print(quantizer)``."""
        return f"dim={self.dim}, bits_per_vector={self.bits_per_vector:.4g}, codebook_numel={self.codebook_numel}"
