"""Bitrates that a codec can keep to, by leaving out last stages."""

from numbers import Integral

from vqkit.counts import check_numbers
from vqkit.quantize import Quantizer

__all__ = ["MAX_SAMPLE_RATE", "check_sample_rate", "stage_rates_kbps"]

MAX_SAMPLE_RATE = 1 << 20
"""Hz. The weights of a codec say nothing of its rate, and a rate of gigahertz would resample a short clip to gigabytes."""


def check_sample_rate(sample_rate: int) -> int:
    """See that the rate of a codec's waveforms is one.

    Args:
        sample_rate: sample rate in Hz.

    Returns:
        The same.

    Raises:
        ValueError: it is NaN, a fraction, below 1 or beyond `MAX_SAMPLE_RATE`.
    """
    check_numbers(sample_rate=sample_rate)
    if not isinstance(sample_rate, Integral) or not 1 <= sample_rate <= MAX_SAMPLE_RATE:
        raise ValueError(f"sample_rate must be at least 1 Hz, at most {MAX_SAMPLE_RATE} and whole, got {sample_rate!r}")
    return sample_rate


def stage_rates_kbps(quantizer: Quantizer, frame_rate: float) -> tuple[float, ...]:
    """Nominal bitrate, before entropy coding, of the first stage, of the first two and so on.

    Args:
        quantizer: its code sizes tell the bits of a frame.
        frame_rate: frames a second.

    Returns:
        One rate a stage, in kbit/s.

    Example:
        >>> from vqkit import RVQ
        >>> stage_rates_kbps(RVQ(dim=8, codebook_size=64, num_quantizers=3), frame_rate=50)
        (0.3, 0.6, 0.9)
    """
    return tuple(round(bits * frame_rate / 1000, 9) for bits in quantizer.stage_bits)
