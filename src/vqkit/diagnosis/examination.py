"""What an examination found: as plain values for JSON, and as lines for the terminal."""

from dataclasses import dataclass
from typing import Any

from vqkit.diagnosis.finding import Finding, Severity
from vqkit.diagnosis.measures import Measures
from vqkit.diagnosis.rate import Rates
from vqkit.diagnosis.trials import Trial

__all__ = ["Examination"]

_MOST_ROWS = 16


@dataclass(frozen=True)
class Examination:
    """What the doctor says; ``print`` shows it.

    Attributes:
        quantizer: What was examined, as text.
        measures: The numbers.
        rates: What the codes cost as real bytes.
        trials: Changes that were tried on copies, and what they leave of the variance.
        findings: What is wrong, faults first.
    """

    quantizer: str
    measures: Measures
    rates: Rates
    trials: tuple[Trial, ...]
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is no fault; advice may be left."""
        return not any(finding.severity == Severity.FAULT for finding in self.findings)

    def record(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        return {
            "quantizer": self.quantizer,
            "healthy": self.healthy,
            "findings": [finding.record() for finding in self.findings],
            "measures": self.measures.record(),
            "rates": self.rates.record(),
            "trials": [{"change": t.change, "error": t.error, "codebook_numel": t.codebook_numel} for t in self.trials],
        }

    def __str__(self) -> str:
        return _text(self)


def _text(found: Examination) -> str:
    """The numbers as small tables, then what is wrong.

    Args:
        found: results; see `Examination`.
    """
    measures = found.measures
    lines = [
        f"{found.quantizer}: {measures.vectors} vectors judged, error {measures.error:.4g} of the variance",
        f"bits a vector: {measures.bits:.2f} nominal, {measures.effective_bits:.2f} effective, {_rates(found)}",
        "",
        *_table(
            ("stage", "bits", "effective", "left", "gain"),
            [
                (str(i + 1), f"{s.bits:.2f}", f"{s.effective_bits:.2f}", f"{s.energy:.4g}", f"{s.gain_db:.2f} dB")
                for i, s in enumerate(measures.stages)
            ],
        ),
        "",
        *_table(
            ("codebook", "codes", "dead", "copies", "drift", "width", "offset"),
            [
                (
                    b.name,
                    str(b.codes),
                    str(b.dead),
                    str(b.copies),
                    f"{b.drift:.1%}",
                    f"{b.scale:.2f}",
                    f"{b.offset:.2f}",
                )
                for b in measures.books
            ],
        ),
        *_balance(found),
        "",
        *(f"tried: {trial.change}: {trial.error:.4g} of the variance" for trial in found.trials),
        "",
    ]
    if found.findings:
        lines += [str(finding) for finding in found.findings]
    else:
        lines.append("nothing is wrong")
    return "\n".join(lines)


def _rates(found: Examination) -> str:
    rates = found.rates
    parts = [f"{rates.plain:.2f} as plain bytes"]
    parts += [f"{rates.static:.2f} with a table a code"] if rates.static is not None else []
    parts += [f"{rates.context:.2f} with contexts"] if rates.context is not None else []
    return ", ".join(parts)


def _balance(found: Examination) -> list[str]:
    lines = []
    for product in found.measures.balance[:_MOST_ROWS]:
        shares = ", ".join(f"{share:.1%}" for share in product.shares[:8])
        more = ", …" if len(product.shares) > 8 else ""
        lines.append(f"pieces of {product.name}: {shares}{more}; {product.unevenness_db:.1f} dB from even")
    return ["", *lines] if lines else []


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    shown = [head, *rows[:_MOST_ROWS]]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in shown
    ]
    return [*lines, f"… and {len(rows) - _MOST_ROWS} more"] if len(rows) > _MOST_ROWS else lines
