"""What codes cost as real bytes: plain bits, one table a code, and contexts."""

from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from vqkit.bitstream.plain_codes import PlainCodes
from vqkit.types import Int

__all__ = ["Rates", "real_rates"]

_CHUNK = 1024  # vectors that are coded together
_MOST_FITTED = 1 << 13  # vectors that contexts are fitted to
_MOST_CODES = 64  # of a vector: beyond, contexts take minutes


@dataclass(frozen=True)
class Rates:
    """Bits a vector, measured on bytes.

    Attributes:
        nominal: Σ log2 of the alphabets.
        plain: Without an entropy coder.
        static: Bits a vector with one table a code, fitted to other vectors; None where constriction is not installed.
        context: Bits a vector with the codes around each code, fitted to other vectors; None as before, or where there are too many codes.
    """

    nominal: float
    plain: float
    static: float | None = None
    context: float | None = None

    @property
    def best(self) -> float:
        """The least of them."""
        return min(value for value in (self.plain, self.static, self.context) if value is not None)

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def real_rates(
    code_sizes: tuple[int, ...],
    stage_ends: tuple[int, ...],
    nominal: float,
    learn: Int[Tensor, "vectors codes"],
    judge: Int[Tensor, "vectors codes"],
) -> Rates:
    """Code vectors to bytes with each coder, fitted to other vectors.

    Args:
        code_sizes: Alphabet of each code.
        stage_ends: Where the codes of each stage end: stages are coded apart, as in a file.
        nominal: Bits a vector.
        learn: Codes that the coders are fitted to, in the order of the vectors.
        judge: Codes that are measured.
    """
    codes = judge.cpu().numpy()
    starts = (0, *stage_ends[:-1])

    def bits(coder: Any, most: int = _CHUNK) -> float:
        size = max(1, min(_CHUNK, most))
        chunks = [codes[first : first + size] for first in range(0, len(codes), size)]
        spans = list(zip(starts, stage_ends, strict=True))
        return 8 * sum(len(coder.encode(chunk, *span)) for chunk in chunks for span in spans) / len(codes)

    plain = bits(PlainCodes(code_sizes))
    if find_spec("constriction") is None:
        return Rates(nominal, plain)
    from vqkit.bitstream import StaticTables, fit_contexts

    static = bits(StaticTables.fit(code_sizes, [learn]))
    context = None
    if len(code_sizes) <= _MOST_CODES:
        model = fit_contexts(code_sizes, [learn[:_MOST_FITTED]], classes=8, chunk_frames=_CHUNK)
        context = bits(model, model.most_frames(stage_ends))
    return Rates(nominal, plain, static, context)
