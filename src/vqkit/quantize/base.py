"""The contract every quantizer keeps.

`Quantizer` checks the input, runs the search and the sums in float32, applies the mask and the dtypes, and leaves to a subclass four
private methods on float32 tensors. In evaluation ``forward(z).z_q == decode(encode(z))`` bit for bit, because both look the same codes
up in the same way.

Conventions
    ``z`` is (batch, *spatial, dim); codes are (batch, *spatial, num_codes), stage-major, then piece-major, then sub-position.
    Masked positions and dropped stages have code −1, which decodes to zeros.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from vqkit.quantize import pretrained
from vqkit.quantize.losses import rank_weight
from vqkit.quantize.sampling import sample_rows
from vqkit.ranks import num_ranks, own_rank
from vqkit.types import Bool, Float, Int, Quantized

__all__ = ["Quantizer", "Step"]

Step = tuple[Tensor, Tensor, dict[str, Tensor]]
"""What `_quantize` gives: float32 z_q with its gradient, codes, weighted loss terms."""


class Quantizer(nn.Module, ABC):
    """A map from vectors to a few integers and back.

    A subclass sets ``dim`` and ``straight_through`` and implements `code_sizes`, `codes_per_stage`, `codebook_numel`, `dtype`,
    `_quantize`, `_encode`, `_decode` and `_fit`; the rest is here. CONTRIBUTING shows a complete one.

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

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the constructor's arguments: they are what `save_pretrained` writes."""
        self = super().__new__(cls)
        self.__dict__["_arguments"] = pretrained.bound_arguments(cls, args, kwargs)
        return self

    # --- what a subclass defines

    @property
    @abstractmethod
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabet of each code: code i is in 0 … code_sizes[i] − 1."""

    @property
    @abstractmethod
    def codes_per_stage(self) -> tuple[int, ...]:
        """How many consecutive codes each stage has; their sum is ``num_codes``."""

    @property
    @abstractmethod
    def codebook_numel(self) -> int:
        """Floats stored in codebooks (projections are not counted)."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Dtype of the codebook, which `decode` returns."""

    @abstractmethod
    def _quantize(self, x: Float[Tensor, "*shape dim"], mask: Bool[Tensor, "*shape"] | None) -> Step:
        """Quantize float32 vectors with gradient and losses; in training also learn. Masked x is zero already."""

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

    # --- what every quantizer offers

    @property
    def num_codes(self) -> int:
        """Codes a position."""
        return len(self.code_sizes)

    @property
    def num_stages(self) -> int:
        """Stages that can be decoded one after the other."""
        return len(self.codes_per_stage)

    @property
    def bits_per_vector(self) -> float:
        """Rate: Σ log2 of the code sizes, bits a position."""
        return sum(math.log2(size) for size in self.code_sizes)

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
        """
        x = self._checked(z, mask, finite=self.check_training_input or not self.training)
        with torch.autocast(device_type=z.device.type, enabled=False):
            z_q, codes, losses = self._quantize(x, mask)
            if self.training and losses and num_ranks() > 1:
                weight = rank_weight(torch.tensor(x[..., 0].numel(), device=x.device) if mask is None else mask.sum())
                losses = {name: value * weight for name, value in losses.items()}
            loss = torch.stack(list(losses.values())).sum() if losses else x.new_zeros(())
            return Quantized(z_q.to(self.dtype).to(z.dtype), codes, loss, losses)

    @torch.no_grad()
    def encode(
        self, z: Float[Tensor, "*shape dim"], mask: Bool[Tensor, "*shape"] | None = None
    ) -> Int[Tensor, "*shape codes"]:
        """Codes of z, int64 (batch, *spatial, num_codes). Never changes state; errors as in `forward`."""
        x = self._checked(z, mask, finite=True)
        with torch.autocast(device_type=z.device.type, enabled=False):
            return self._encode(x, mask)

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "*shape codes"], stages: int | None = None) -> Float[Tensor, "*shape dim"]:
        """Vectors of codes, in the dtype of the codebook; −1 gives zeros.

        Args:
            codes: (batch, *spatial, num_codes), or only the codes of the first stages.
            stages: decode only the first so many stages; all that ``codes`` holds by default.

        Raises:
            TypeError: codes are not integers.
            ValueError: a code out of range, or a number of codes or stages that does not exist.
        """
        codes, stages = self._checked_codes(codes, stages)
        with torch.autocast(device_type=codes.device.type, enabled=False):
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
            vectors: (…, dim), or an iterable of such tensors; of more than ``max_vectors`` a uniform sample is kept.
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
        tensors = [vectors] if isinstance(vectors, Tensor) else vectors
        rows = (self._fit_rows(self._checked(z, None, finite=True)) for z in tensors)
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed + own_rank() if joint else seed)
            sample = sample_rows(rows, max_vectors, joint=joint)
            if joint:
                torch.manual_seed(seed)
            self._fit(sample, iterations)
        return self

    def freeze(self) -> Self:
        """Stop all learning, also of moving averages and revival, until `unfreeze`; ``train()`` does not undo it.

        Returns:
            The quantizer itself. In training mode it then computes what it computes in evaluation, with losses for the encoder.
        """
        return self.requires_grad_(False)

    def unfreeze(self) -> Self:
        """Let it learn again."""
        return self.requires_grad_(True)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze or unfreeze: what learns without gradients follows too.

        A model that holds the quantizer reaches only its parameters by its own ``requires_grad_``: call this, or `freeze`, for codebooks
        that learn by moving averages.
        """
        for module in self.modules():
            if "frozen" in vars(module):
                vars(module)["frozen"] = not requires_grad
        return super().requires_grad_(requires_grad)

    def defer_learning(self, deferred: bool = True) -> Self:
        """Let forwards only gather what codebooks learn from, until `apply_learning`: for gradient accumulation and checkpointing.

        Moving averages, restart and CVQ then learn as from one batch that joins all forwards in between; k-means still starts on the first
        forward. Vectors are kept until then (4·dim bytes each) and are not part of the state: apply before you save. Forwards that
        activation checkpointing computes again gather nothing.

        Args:
            deferred: False goes back to learning in every forward, and drops what was gathered.

        Returns:
            The quantizer itself.

        Example:
            >>> import torch
            >>> from vqkit import VQ
            >>> quantizer = VQ(dim=4, codebook_size=8).train().defer_learning()
            >>> for micro_batch in torch.randn(4, 1, 64, 4):
            ...     out = quantizer(micro_batch)  # and backward
            >>> quantizer.apply_learning()  # beside optimizer.step()
        """
        for module in self.modules():
            if "deferred" in vars(module):
                vars(module)["deferred"] = [] if deferred else None
        return self

    def apply_learning(self) -> None:
        """Learn once from all forwards since the last call; with several ranks each must call it.

        Raises:
            RuntimeError: learning is not deferred.
        """
        books = [module for module in self.modules() if "deferred" in vars(module)]
        if any(vars(book)["deferred"] is None for book in books):
            raise RuntimeError("learning is not deferred: call defer_learning() before the forwards")
        for book in books:
            book.apply_deferred()  # type: ignore[operator]

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

    def _checked(self, z: Tensor, mask: Tensor | None, finite: bool) -> Tensor:
        if not z.is_floating_point():
            raise TypeError(f"z must have a floating dtype, got {z.dtype}")
        if z.ndim < 2 or z.shape[-1] != self.dim:
            raise ValueError(f"z must be (batch, *spatial, {self.dim}), got shape {tuple(z.shape)}")
        x = z.float()
        if mask is not None:
            if mask.dtype != torch.bool:
                raise TypeError(f"mask must be bool (True = real), got {mask.dtype}")
            if mask.shape != z.shape[:-1]:
                raise ValueError(
                    f"mask must have the shape {tuple(z.shape[:-1])} of z without dim, got {tuple(mask.shape)}"
                )
            x = torch.where(mask[..., None], x, 0.0)
        if finite and not torch.compiler.is_compiling():  # a compiled or exported graph cannot branch on values
            bad = ~torch.isfinite(x)
            if bad.any():
                raise ValueError(
                    f"z has {int(bad.sum())} NaN or Inf among {x.numel()} values; it must be finite in float32"
                )
        return x

    def _checked_codes(self, codes: Tensor, stages: int | None) -> tuple[Tensor, int]:
        if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
            raise TypeError(f"codes must be integers, got {codes.dtype}")
        prefix = [sum(self.codes_per_stage[: n + 1]) for n in range(self.num_stages)]
        if codes.ndim < 2 or codes.shape[-1] not in prefix:
            allowed = " or ".join(map(str, prefix))
            raise ValueError(
                f"codes must be (batch, *spatial, codes) with {allowed} codes, got shape {tuple(codes.shape)}"
            )
        held = prefix.index(codes.shape[-1]) + 1
        stages = held if stages is None else stages
        if not 1 <= stages <= held:
            raise ValueError(f"stages must be in 1 … {held}, got {stages}")
        codes = codes[..., : prefix[stages - 1]].long()
        if not torch.compiler.is_compiling():
            sizes = torch.tensor(self.code_sizes[: codes.shape[-1]], device=codes.device)
            bad = (codes < -1) | (codes >= sizes)
            if bad.any():
                at = int(bad.flatten(end_dim=-2).any(dim=0).nonzero()[0])
                value = int(codes[..., at][bad[..., at]][0])
                raise ValueError(
                    f"code {value} at position {at} is out of range: −1 (masked) or 0 … {int(sizes[at]) - 1}"
                )
        return codes, stages

    def extra_repr(self) -> str:
        """Rate and size, for ``print(quantizer)``."""
        return f"dim={self.dim}, bits_per_vector={self.bits_per_vector:.4g}, codebook_numel={self.codebook_numel}"
