"""Usage of a quantizer's codebooks.

Conventions:
    Codes are ``(..., num_codes)`` ints, −1 where nothing was coded (masked positions, dropped stages): those are not
    counted. Code order is a quantizer's: stage by stage, and sub-vector by sub-vector within a stage. Entropies are in bits.
    Counts are exact over the whole evaluation set and over ranks: one counter per code, nothing is sampled or decayed.

Metrics:
    :class:`CodebookUsage`; its ``compute`` returns a :class:`UsageReport` of :class:`Use` rows. With p the share of
    each code among the tokens: usage (CU, also CUR) = share of the codes hit at least once; entropy (UE) = −Σ p log2 p;
    perplexity = 2^UE; ECU = 2^UE / K, the effective share of a codebook of K codes, 1 when all are equally frequent.
    ``ecu_bridle`` = CUR / (UE·ln K) is what BRIDLE's published code computes. It divides by the entropy and mixes
    logarithms, so that it is the larger the worse the codebook; it stands here only for comparing with that paper's
    table 6.

References:
    IVQ paper, section 4.2 (CU). BRIDLE paper, appendix D, equations 29–31 (CUR, UE, ECU).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from vqkit.constants import Constant
from vqkit.metrics.streaming import StreamingMetric
from vqkit.stages import stage_ends
from vqkit.types import Int

__all__ = ["CodebookUsage", "UsageReport", "Use"]

_MAX_CODES = 2**20


@dataclass(frozen=True)
class Use:
    """Use of one codebook, or of several taken together (:class:`UsageReport` says how).

    Attributes:
        usage: codes hit at least once / ``codebook_size``.
        entropy_bits: −Σ p log2 p.
        perplexity: effective number of codes.
        ecu: effective share of the codebook, in (0, 1].
        ecu_bridle: CUR / (UE·ln K); inf when the entropy is 0.
        codebook_size: codes stored.
        tokens: codes counted. When there are none, usage is 0 and the rest nan.
    """

    usage: float
    entropy_bits: float
    perplexity: float
    ecu: float
    ecu_bridle: float
    codebook_size: int
    tokens: int


@dataclass(frozen=True)
class UsageReport:
    """Use of all codebooks.

    Attributes:
        pooled: all codebooks. ``usage`` is hits / codes stored; ``entropy_bits`` the sum over code positions, the bits
            per vector that an ideal entropy coder without memory needs; ``perplexity`` and ``ecu`` geometric means over
            positions; ``ecu_bridle`` the mean of ``per_stage``. Positions that never had a code (a stage dropped in the
            whole evaluation) are left out, here and in the means over pieces.
        per_stage: one row per stage. Where the pieces share a codebook, their tokens make one histogram; otherwise
            ``codebook_size`` and ``tokens`` are sums over the pieces and the rest means.
        per_piece: one row per code position.
    """

    pooled: Use
    per_stage: tuple[Use, ...]
    per_piece: tuple[Use, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON.

        Returns:
            Nested dicts and lists of plain numbers; None stands for inf and nan, which JSON has not.
        """
        return {
            "pooled": _plain(self.pooled),
            "per_stage": [_plain(use) for use in self.per_stage],
            "per_piece": [_plain(use) for use in self.per_piece],
        }


class CodebookUsage(StreamingMetric):
    """Exact use of every code over an evaluation set.

    Args:
        code_sizes: alphabet of each code position, as ``quantizer.code_sizes``.
        codes_per_stage: how many consecutive positions each stage has; None means one stage of all.
        shared: whether the pieces of a stage use one codebook; one bool for all stages, or one each.

    Raises:
        TypeError: a size is not an int.
        ValueError: there is no size, or one not in 1..2^20; the stages do not add up to the positions; or a shared
            stage has codebooks of different sizes.

    Example:
        >>> usage = CodebookUsage([4, 4], codes_per_stage=[2], shared=True)
        >>> usage.update(torch.tensor([[0, 1], [0, 1], [-1, -1]]))
        >>> report = usage.compute()
        >>> report.per_stage[0].usage, report.per_stage[0].entropy_bits, report.per_stage[0].tokens
        (0.5, 1.0, 4)
        >>> report.per_piece[0].entropy_bits  # each position alone always says the same
        0.0
    """

    name = "codebook_usage"
    unit = "bits"
    higher_is_better = None
    description = (
        "exact counts of every code over the evaluation set, −1 not counted: share of codes hit, entropy in bits, "
        "perplexity 2^UE, ECU 2^UE / K, and BRIDLE's CUR / (UE·ln K); per position, per stage and pooled"
    )

    usage_counts: Tensor

    def __init__(
        self,
        code_sizes: Sequence[int],
        codes_per_stage: Sequence[int] | None = None,
        shared: Sequence[bool] | bool = False,
    ) -> None:
        super().__init__()
        self.code_sizes = tuple(code_sizes)
        if not self.code_sizes:
            raise ValueError("code_sizes must not be empty")
        for size in self.code_sizes:
            if not isinstance(size, int) or isinstance(size, bool):
                raise TypeError(f"code_sizes must be ints, got {size!r}")
            if not 1 <= size <= _MAX_CODES:
                raise ValueError(f"code_sizes must be in 1..2^20 to be counted code by code, got {size}")
        self.codes_per_stage = (len(self.code_sizes),) if codes_per_stage is None else tuple(codes_per_stage)
        if sum(self.codes_per_stage) != len(self.code_sizes) or any(count < 1 for count in self.codes_per_stage):
            raise ValueError(
                f"codes_per_stage must be positive and add up to {len(self.code_sizes)} codes, "
                f"got {self.codes_per_stage}"
            )
        stages = len(self.codes_per_stage)
        self.shared = (shared,) * stages if isinstance(shared, bool) else tuple(shared)
        if len(self.shared) != stages:
            raise ValueError(f"shared must be one bool or {stages}, got {len(self.shared)}")
        for i, (positions, is_shared) in enumerate(zip(self._stages(), self.shared, strict=True)):
            sizes = {self.code_sizes[j] for j in positions}
            if is_shared and len(sizes) > 1:
                raise ValueError(f"stage {i} is shared, its codes must be of one size, got {sorted(sizes)}")
        # one flat histogram, position after position: no place is wasted where sizes differ
        self._sizes = Constant(lambda: torch.tensor(self.code_sizes))
        self._offsets = Constant(lambda: torch.tensor([0, *accumulate(self.code_sizes[:-1])]))
        self.add_state("usage_counts", torch.zeros(sum(self.code_sizes), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def settings(self) -> dict[str, Any]:
        """Alphabets and stages."""
        return {
            "code_sizes": list(self.code_sizes),
            "codes_per_stage": list(self.codes_per_stage),
            "shared": list(self.shared),
        }

    def update(self, codes: Int[Tensor, "... num_codes"]) -> None:
        """Count codes.

        Args:
            codes: what a quantizer gives; −1 is not counted.

        Raises:
            TypeError: not a tensor of ints.
            ValueError: the last dimension is not the number of codes, or a code is outside its alphabet.
        """
        if not isinstance(codes, Tensor):
            raise TypeError(f"codes must be a tensor of ints, got {type(codes).__name__}")
        if codes.dtype == torch.bool or codes.is_floating_point() or codes.is_complex():
            raise TypeError(f"codes must be a tensor of ints, got {codes.dtype}")
        if codes.ndim < 1 or codes.shape[-1] != len(self.code_sizes):
            raise ValueError(f"codes must be (..., {len(self.code_sizes)}), got {tuple(codes.shape)}")
        flat = codes.detach().reshape(-1, len(self.code_sizes)).to(self.usage_counts.device, torch.int64)
        wrong = (flat < -1) | (flat >= self._sizes.on(flat.device))
        if wrong.any():
            row, position = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"code {flat[row, position].item()} at position {position} is outside "
                f"0..{self.code_sizes[position] - 1} (−1 for none)"
            )
        hits = (flat + self._offsets.on(flat.device))[flat >= 0]
        self.usage_counts = self.usage_counts + hits.bincount(minlength=self.usage_counts.numel())

    def compute(self) -> UsageReport:
        """Use of the codes counted so far, of all ranks.

        Returns:
            The report.

        Raises:
            ValueError: no code has been counted.
        """
        if not self.usage_counts.any():
            raise ValueError(f"{self.name} has seen no code: call update before compute")
        histograms = [part.cpu().double() for part in self.usage_counts.split(list(self.code_sizes))]
        pieces = tuple(_use(histogram) for histogram in histograms)
        stages = []
        for positions, is_shared in zip(self._stages(), self.shared, strict=True):
            if is_shared:
                stages.append(_use(torch.stack([histograms[j] for j in positions]).sum(0)))
            else:
                stages.append(_mean([pieces[j] for j in positions]))
        return UsageReport(_pool(stages, pieces), tuple(stages), pieces)

    def _stages(self) -> list[range]:
        ends = stage_ends(self.codes_per_stage)
        return [range(end - count, end) for end, count in zip(ends, self.codes_per_stage, strict=True)]


def _use(histogram: Tensor) -> Use:
    size, tokens = histogram.numel(), int(histogram.sum())
    if tokens == 0:
        return Use(0.0, math.nan, math.nan, math.nan, math.nan, size, 0)
    p = histogram[histogram > 0] / tokens
    usage = p.numel() / size
    entropy = -(p * p.log2()).sum().item() if p.numel() > 1 else 0.0
    divisor = entropy * math.log(size)
    return Use(usage, entropy, 2**entropy, 2**entropy / size, usage / divisor if divisor else math.inf, size, tokens)


def _mean(uses: list[Use]) -> Use:
    seen = [use for use in uses if use.tokens] or uses

    def mean(field: str) -> float:
        return sum(getattr(use, field) for use in seen) / len(seen)

    return Use(
        usage=mean("usage"),
        entropy_bits=mean("entropy_bits"),
        perplexity=mean("perplexity"),
        ecu=mean("ecu"),
        ecu_bridle=mean("ecu_bridle"),
        codebook_size=sum(use.codebook_size for use in seen),
        tokens=sum(use.tokens for use in seen),
    )


def _pool(stages: list[Use], pieces: tuple[Use, ...]) -> Use:
    stages, seen = [stage for stage in stages if stage.tokens], [piece for piece in pieces if piece.tokens]
    size = sum(stage.codebook_size for stage in stages)
    entropy = sum(piece.entropy_bits for piece in seen)
    largest = sum(math.log2(piece.codebook_size) for piece in seen)
    return Use(
        usage=sum(stage.usage * stage.codebook_size for stage in stages) / size,
        entropy_bits=entropy,
        perplexity=2 ** (entropy / len(seen)),
        ecu=2 ** ((entropy - largest) / len(seen)),
        ecu_bridle=sum(stage.ecu_bridle for stage in stages) / len(stages),
        codebook_size=size,
        tokens=sum(piece.tokens for piece in seen),
    )


def _plain(use: Use) -> dict[str, float | int | None]:
    return {key: value if math.isfinite(value) else None for key, value in asdict(use).items()}
