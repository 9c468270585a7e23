"""How a quantizer does on vectors, in numbers: bits, energies, use, dependence; nothing is judged here.

Conventions
    Energies are mean squared errors as shares of the vectors' variance about their mean, so 1 is what the mean alone would give.
    Entropies are in bits, with the Miller–Madow correction of (codes hit − 1) / (2·vectors·ln 2).

References:
    Jayant & Noll, "Digital coding of waveforms" (1984), section 12.2
    (arithmetic over geometric mean of the variances: what a transform can gain).
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from vqkit.diagnosis.dependence import code_counts, code_entropy, stage_dependence
from vqkit.diagnosis.sample import Sample
from vqkit.diagnosis.trace import BookTrace, ProductTrace
from vqkit.quantize import Quantizer
from vqkit.types import Int

__all__ = [
    "BookUse",
    "Coder",
    "Measures",
    "PieceBalance",
    "PositionUse",
    "StageUse",
    "code_positions",
    "error_share",
    "measure",
]


class Coder(Protocol):
    """What can encode and decode: a quantizer, or a way to use one."""

    def encode(self, z: Tensor, mask: Tensor | None = None, /) -> Tensor:
        """Codes of vectors."""

    def decode(self, codes: Tensor, /) -> Tensor:
        """Vectors of codes."""


@dataclass(frozen=True)
class StageUse:
    """One stage.

    Attributes:
        bits: What its codes cost, Σ log2 of the alphabets.
        effective_bits: Sum of the entropies of its codes.
        energy: Share of the variance that is left after this stage.
        gain_db: How much it lowered that, in dB.
    """

    bits: float
    effective_bits: float
    energy: float
    gain_db: float


@dataclass(frozen=True)
class PositionUse:
    """One code of the vector: a piece of a stage.

    Attributes:
        stage: Number of the stage, from 0.
        size: Codes of the alphabet.
        used: Share of them that occurred.
        entropy_bits: Entropy of the codes.
    """

    stage: int
    size: int
    used: float
    entropy_bits: float


@dataclass(frozen=True)
class BookUse:
    """One codebook.

    Attributes:
        name: Where it is.
        codes: Size.
        vectors: How many vectors searched it, those that changes are fitted to included.
        dead: Codes that no vector chose.
        copies: Codes with another in the same place.
        error: Mean squared distance of the vectors from their codes, as a share of the variance of these vectors.
        drift: Share of the error that goes when each code moves to the mean of other vectors that chose it.
        scale: Spread of the codes (in use or not), over the spread of the vectors: a ratio of lengths.
        offset: Distance between the mean of the codes and the mean of the vectors, over the spread of the vectors.
    """

    name: str
    codes: int
    vectors: int
    dead: int
    copies: int
    error: float
    drift: float
    scale: float
    offset: float


@dataclass(frozen=True)
class PieceBalance:
    """How evenly the input of a product falls to its pieces.

    Attributes:
        name: Where it is.
        shares: Variance of each piece, as a share of all.
        unevenness_db: Arithmetic over geometric mean of the shares; 0 where all are alike.
    """

    name: str
    shares: tuple[float, ...]
    unevenness_db: float


@dataclass(frozen=True)
class Measures:
    """All numbers of an examination.

    Attributes:
        vectors: Vectors that were judged.
        error: Share of the variance that is lost.
        bits: Nominal bits a vector.
        effective_bits: Sum of the entropies of all codes.
        stages: One row a stage.
        positions: One row a code.
        books: One row a codebook.
        balance: One row a product.
        dependence: Mutual information between the codes of stage i and those of stage j, bits; on the diagonal between the pieces of a
            stage. Means over some pairs of codes, less what shuffled codes show; None where a stage has no pair.
        identical: Share of the vectors that are one and the same vector.
        tail: Share of the variance that a hundredth of the vectors holds, those furthest from the mean.
    """

    vectors: int
    error: float
    bits: float
    effective_bits: float
    stages: tuple[StageUse, ...]
    positions: tuple[PositionUse, ...]
    books: tuple[BookUse, ...]
    balance: tuple[PieceBalance, ...]
    dependence: tuple[tuple[float | None, ...], ...]
    identical: float
    tail: float = 0.0

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def error_share(quantizer: Coder, fields: list[Tensor], masks: list[Tensor | None]) -> float:
    """Mean squared error of fields, as a share of their variance.

    Args:
        quantizer: Quantizer in evaluation mode.
        fields: (items, *spatial, dim) each.
        masks: Where they are real; None where all is.
    """
    lost = 0.0
    rows = [x.reshape(-1, x.shape[-1]) if m is None else x[m] for x, m in zip(fields, masks, strict=True)]
    for x, mask in zip(fields, masks, strict=True):
        left = (x - quantizer.decode(quantizer.encode(x, mask)).float()).double().square().sum(dim=-1)
        lost += float(left.sum() if mask is None else left[mask].sum())
    return lost / max(variance_sum(rows), 1e-30)


def variance_sum(rows: list[Tensor]) -> float:
    """Σ‖x − mean‖² of all rows."""
    joined = torch.cat(rows).double()
    return float((joined - joined.mean(dim=0)).square().sum())


def code_positions(quantizer: Quantizer, sample: Sample) -> Int[Tensor, "vectors codes"]:
    """The codes of the judged vectors, one row a real vector."""
    found = []
    for x, mask in zip(sample.judge, sample.masks, strict=True):
        codes = quantizer.encode(x, mask)
        found.append(codes.reshape(-1, codes.shape[-1]) if mask is None else codes[mask])
    return torch.cat(found)


def measure(
    quantizer: Quantizer,
    sample: Sample,
    codes: Int[Tensor, "vectors codes"],
    books: list[BookTrace],
    products: list[ProductTrace],
) -> Measures:
    """Put everything into numbers.

    Args:
        quantizer: Quantizer in evaluation mode.
        sample: The vectors.
        codes: Codes of the judged vectors.
        books: Traces of the codebooks.
        products: Traces of the products.
    """
    positions = _positions(quantizer, codes)
    stages = _stages(quantizer, sample, positions)
    return Measures(
        vectors=len(codes),
        error=stages[-1].energy,
        bits=quantizer.bits_per_vector,
        effective_bits=sum(position.entropy_bits for position in positions),
        stages=stages,
        positions=positions,
        books=tuple(_book(trace) for trace in books),
        balance=tuple(PieceBalance(trace.name, tuple(trace.shares), _unevenness(trace.shares)) for trace in products),
        dependence=stage_dependence(quantizer, codes),
        identical=_identical(torch.cat(sample.judged_rows())),
        tail=_tail(torch.cat(sample.judged_rows())),
    )


def _positions(quantizer: Quantizer, codes: Tensor) -> tuple[PositionUse, ...]:
    stage_of = [stage for stage, count in enumerate(quantizer.codes_per_stage) for _ in range(count)]
    found = []
    for stage, size, column in zip(stage_of, quantizer.code_sizes, codes.T, strict=True):
        counts = code_counts(column)
        found.append(PositionUse(stage, size, len(counts) / size, min(code_entropy(counts), math.log2(size))))
    return tuple(found)


def _stages(quantizer: Quantizer, sample: Sample, positions: tuple[PositionUse, ...]) -> tuple[StageUse, ...]:
    variance = max(variance_sum(sample.judged_rows()), 1e-30)
    energies = [0.0] * quantizer.num_stages
    for x, mask in zip(sample.judge, sample.masks, strict=True):
        codes = quantizer.encode(x, mask)
        for stage in range(quantizer.num_stages):
            left = (x - quantizer.decode(codes, stages=stage + 1).float()).double().square().sum(dim=-1)
            energies[stage] += float(left.sum() if mask is None else left[mask].sum()) / variance
    mean = torch.cat(sample.judged_rows()).double().square().sum()
    before = float(mean) / variance  # a quantizer without codes gives zeros, not the mean
    rows = []
    for stage, energy in enumerate(energies):
        own = [position for position in positions if position.stage == stage]
        gain = 10 * math.log10(max(before, 1e-30) / max(energy, 1e-30))
        bits = sum(math.log2(position.size) for position in own)
        rows.append(StageUse(bits, sum(position.entropy_bits for position in own), energy, gain))
        before = energy
    return tuple(rows)


def _book(trace: BookTrace) -> BookUse:
    spread = max(trace.spread, 1e-30)
    table = trace.table
    deviation = float((table - table.mean(dim=0)).square().sum(dim=1).mean())
    offset = float((table.mean(dim=0) - trace.total / max(trace.vectors, 1)).norm())
    better = trace.better if trace.means is not None else trace.error
    return BookUse(
        name=trace.name,
        codes=len(table),
        vectors=int(trace.all_counts.sum()),
        dead=int(trace.dead.sum()),
        copies=int(trace.copies().sum()),
        error=trace.mean_error / spread,
        drift=1 - better / max(trace.error, 1e-30),
        scale=math.sqrt(deviation / spread),
        offset=offset / math.sqrt(spread),
    )


def _unevenness(shares: list[float]) -> float:
    clamped = [max(share, 1e-12) for share in shares]
    geometric = math.exp(sum(map(math.log, clamped)) / len(clamped))
    return 10 * math.log10(sum(clamped) / len(clamped) / geometric)


def _identical(rows: Tensor) -> float:
    """Share of the vectors that are equal to the commonest one."""
    counts = torch.unique(rows, dim=0, return_counts=True)[1]
    most = int(counts.max())
    return most / len(rows) if most > 1 else 0.0


def _tail(rows: Tensor) -> float:
    """Share of the variance that the furthest hundredth of the vectors holds; that hundredth where vectors are equally far."""
    distances = (rows - rows.mean(dim=0)).double().square().sum(dim=1)
    furthest = distances.topk(max(1, len(rows) // 100)).values
    return float(furthest.sum() / distances.sum().clamp(min=1e-300))
