"""An examination for the terminal: plain lines, without any package."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqkit.diagnosis.examine import Examination

__all__ = ["examination_text"]

_MOST_ROWS = 16


def examination_text(found: "Examination") -> str:
    """The numbers as small tables, then what is wrong.

    Args:
        found: see `Examination`.
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


def _rates(found: "Examination") -> str:
    rates = found.rates
    parts = [f"{rates.plain:.2f} as plain bytes"]
    parts += [f"{rates.static:.2f} with a table a code"] if rates.static is not None else []
    parts += [f"{rates.context:.2f} with contexts"] if rates.context is not None else []
    return ", ".join(parts)


def _balance(found: "Examination") -> list[str]:
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
