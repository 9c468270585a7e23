"""Pieces of the page's HTML: a table of numbers, pictures with captions."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from vqkit.serve.medium import Figure, Medium, Numbers
from vqkit.terminal import printable

__all__ = ["CSS", "figures_html", "notes_list", "numbers_table", "safe_text"]

CSS = """
.vqkit-figures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); }
.vqkit-figures figure { margin: 0; min-width: 0; }
.vqkit-figures img { display: block; width: 100%; height: auto; background: #fff;
  border: 1px solid var(--border-color-primary); border-radius: 6px; }
.vqkit-figures figcaption { font-size: 0.9rem; margin-bottom: 0.3rem; }
.vqkit-figures figcaption span, .vqkit-numbers dt, .vqkit-numbers dd small { opacity: 0.72; }
.vqkit-numbers { display: grid; gap: 0.6rem 1rem; margin: 0; grid-template-columns: repeat(auto-fit, minmax(min(8.8rem, 100%), 1fr)); }
.vqkit-numbers div { min-width: 0; }
.vqkit-numbers dt { font-size: 0.85rem; margin: 0; }
.vqkit-numbers dd { font-size: 1.15rem; font-variant-numeric: tabular-nums; margin: 0; }
.vqkit-numbers dd small { display: block; font-size: 0.8rem; }
"""


def safe_text(text: str) -> str:
    r"""Text from a file, as HTML that shows it and does nothing else.

    Markup and control characters are spelt out, those as well that turn the direction of writing.

    Example:
        >>> safe_text("<b>\x1b[31m red")
        '&lt;b&gt;\\x1b[31m red'
    """
    return escape(printable(text))


def notes_list(first: str, notes: Sequence[str]) -> str:
    """Render a sentence and notes, each on a line; empty ones are left out."""
    return "".join(f"<p>{safe_text(line)}</p>" for line in (first, *notes) if line)


def numbers_table(medium: Medium, numbers: Numbers) -> str:
    """Render the numbers as a table, each with its unit and its reference value."""
    unit, nominal = medium.modality.rate_unit, numbers.nominal_rate
    stages = f"{numbers.stages} stage{'s' * (numbers.stages != 1)}, {numbers.frames} {medium.place}"
    compared = "of all bytes of the file" if nominal is None else f"nominal {nominal:.4g} before entropy coding"
    extent, *quality = medium.rows(numbers)
    rows = [
        (".vqk file", f"{numbers.vqk_bytes:,} bytes".replace(",", "\u202f"), stages),
        ("Measured rate", f"{numbers.rate:.4g} {unit}", compared),
        extent,
    ]
    for name, spent in (("Encoding", numbers.encode_seconds), ("Decoding", numbers.decode_seconds)):
        if spent is not None:
            rows.append((name, medium.speed(numbers, spent), f"{spent:.2f} s"))
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in (*rows, *quality)
    )
    return f'<dl class="vqkit-numbers">{cells}</dl>'


def figures_html(shown: Sequence[Figure]) -> str:
    """Pictures with their titles and notes."""
    figures = "".join(
        f"<figure><figcaption><b>{escape(name)}</b> <span>{escape(note)}</span></figcaption>"
        f'<img src="data:image/png;base64,{b64encode(png).decode()}" alt="{escape(name)}: {escape(note)}"></figure>'
        for name, note, png in shown
        if png is not None
    )
    return f'<div class="vqkit-figures">{figures}</div>'
