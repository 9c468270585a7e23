"""A codec at rates in plain words: which codec, on what, how to read the table; the same in Markdown and on the page."""

from vqkit.report.rate_results import RateResults

__all__ = ["HOW_TO_READ_RATES", "bytes_text", "codec_text", "sounds_text"]

HOW_TO_READ_RATES = (
    "Every sound was compressed into a real file (.vqk, and Ogg for Opus) and decoded from it. Rates are measured: bytes × 8 / seconds, "
    "over all sounds of the table. “Packets” are the codec's own bytes, “file” has headers and checksums with them, which weigh in short "
    "sounds.",
    "Numbers are means over the sounds, ± half the width of their 95 % bootstrap interval, which is wide for so few. ↑ means higher is "
    "better, ↓ lower is better.",
    "Bold: no codec of the table whose packets take as many bytes or fewer is better. ≈ marks a value whose ± range overlaps that of a "
    "better one that takes no more. The cheapest row has no rival.",
    "These sounds are to be heard; benchmarks/rate_quality.py measures on more, with slower metrics too.",
)
"""Explanations of the tables for readers, one paragraph each."""


def codec_text(results: RateResults) -> str:
    """Describe the codec: model, parameters, sample rate, and hashes of weights and prior.

    Args:
        results: results of the run.

    Returns:
        One sentence.
    """
    codec = results.codec
    prior = f", prior {codec['prior'][:12]}…" if codec.get("prior") else ", no prior"
    return (
        f"{codec['model']} with {codec['parameters']:,} parameters at {codec['sample_rate']:,} Hz; "
        f"weights {codec['weights'][:12]}…{prior}."
    )


def sounds_text(results: RateResults, kind: str) -> str:
    """Describe the number of sounds of a kind and their total duration.

    Returns:
        For example ``3 sounds, 9.8 s``.
    """
    seconds = [sound.seconds for sound in results.sounds if sound.group == kind]
    return f"{len(seconds)} sound{'' if len(seconds) == 1 else 's'}, {sum(seconds):.1f} s"


def bytes_text(size: int) -> str:
    """Return a file size as people read it.

    Example:
        >>> bytes_text(324), bytes_text(15872)
        ('324 B', '15.9 kB')
    """
    return f"{size} B" if size < 1000 else f"{size / 1000:.3g} kB"
