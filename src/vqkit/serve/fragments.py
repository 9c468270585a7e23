"""Pieces of the page's HTML: a table of numbers, pictures with captions."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from vqkit.serve.transcode import Numbers, Restored, Transcoded
from vqkit.terminal import printable

__all__ = ["CSS", "notes_list", "numbers_table", "restored_figures", "safe_text", "transcoded_figures"]

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

_CODES = ("Codes", "a row for each code of a frame; the colour is its index in the codebook")
_USAGE = ("Codebook use", "of this file alone; grey: bits of a code before entropy coding")


def safe_text(text: str) -> str:
    r"""Text from a file, as HTML that shows it and does nothing else.

    Markup and control characters are spelt out, those as well that turn the direction of writing.

    Example:
        >>> safe_text("<b>\x1b[31m red")
        '&lt;b&gt;\\x1b[31m red'
    """
    return escape(printable(text))


def notes_list(first: str, notes: Sequence[str]) -> str:
    """A sentence and notes, each on a line; nothing where there are none."""
    return "".join(f"<p>{safe_text(line)}</p>" for line in (first, *notes) if line)


def numbers_table(numbers: Numbers) -> str:
    """The numbers, each with its unit and what it is compared with."""
    seconds = numbers.seconds
    nominal = "" if numbers.nominal_kbps is None else f"nominal {numbers.nominal_kbps:.4g} before entropy coding"
    stages = f"{numbers.stages} stage{'s' * (numbers.stages != 1)}, {numbers.frames} frames"
    rows = [
        (".vqk file", f"{numbers.vqk_bytes:,} bytes".replace(",", "\u202f"), stages),
        ("Measured rate", f"{numbers.kbps:.4g} kbit/s", nominal or "of all bytes of the file"),
        ("Duration", f"{seconds:.2f} s", ""),
    ]
    for name, spent in (("Encoding", numbers.encode_seconds), ("Decoding", numbers.decode_seconds)):
        if spent is not None:
            rows.append((name, f"{seconds / max(spent, 1e-9):.3g} × real time", f"{spent:.2f} s"))
    if numbers.encode_seconds is not None:
        mel, si_sdr = numbers.mel_distance, numbers.si_sdr_db
        rows.append(("Mel distance", "–" if mel is None else f"{mel:.3f}", "0 is equal; lower is better"))
        rows.append(("SI-SDR", "–" if si_sdr is None else f"{si_sdr:.1f} dB".replace("-", "−"), "higher is better"))
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in rows
    )
    return f'<dl class="vqkit-numbers">{cells}</dl>'


def transcoded_figures(made: Transcoded) -> str:
    """The pictures of `Transcoded`."""
    rate = f"{made.reconstruction.sample_rate / 1000:g} kHz"
    shown = [
        ("Original", f"as the codec takes it, at {rate}", made.original_png),
        ("Reconstruction", "the same range of 80 dB", made.reconstruction_png),
        (*_CODES, made.codes_png),
        (*_USAGE, made.usage_png),
    ]
    return _figures(shown)


def restored_figures(made: Restored) -> str:
    """The pictures of `Restored`."""
    rate = f"{made.reconstruction.sample_rate / 1000:g} kHz"
    return _figures(
        [("Sound", f"at {rate}", made.reconstruction_png), (*_CODES, made.codes_png), (*_USAGE, made.usage_png)]
    )


def _figures(shown: list[tuple[str, str, bytes | None]]) -> str:
    figures = "".join(
        f"<figure><figcaption><b>{escape(name)}</b> <span>{escape(note)}</span></figcaption>"
        f'<img src="data:image/png;base64,{b64encode(png).decode()}" alt="{escape(name)}: {escape(note)}"></figure>'
        for name, note, png in shown
        if png is not None
    )
    return f'<div class="vqkit-figures">{figures}</div>'
