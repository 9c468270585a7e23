"""Validation of a batch of waveforms: once, at the door, and cut into clips.

Conventions:
    The same as in :mod:`vqkit.metrics.reconstruction`. Everything is checked before anything is measured.

Metrics:
    None: every metric that takes waveforms begins here.
"""

from collections.abc import Sequence

from torch import Tensor

from vqkit.types import Float, Int

__all__ = ["pairs_of_clips"]


def pairs_of_clips(
    name: str,
    min_samples: int,
    estimate: Float[Tensor, "batch channels samples"],
    reference: Float[Tensor, "batch channels samples"],
    lengths: Int[Tensor, "batch"] | Sequence[int] | None,
) -> list[tuple[Float[Tensor, "channels length"], Float[Tensor, "channels length"]]]:
    """Check two batches of waveforms and cut them to the real samples.

    Args:
        name: the metric's, for messages.
        min_samples: shortest clip allowed.
        estimate: reconstructed waveforms.
        reference: original waveforms.
        lengths: real samples of each clip; None means all.

    Returns:
        Pairs (estimate, reference) without gradient, one per clip.

    Raises:
        TypeError: an argument is not a tensor of a float dtype, or the lengths are not ints.
        ValueError: shapes differ or are not ``(batch, channels, samples)``, a clip is too short, or a real sample is
            not finite.

    Example:
        >>> import torch
        >>> wave = torch.zeros(2, 1, 10)
        >>> [tuple(one.shape) for one, other in pairs_of_clips("snr", 1, wave, wave, [4, 10])]
        [(1, 4), (1, 10)]
    """
    for label, waveform in (("estimate", estimate), ("reference", reference)):
        if not isinstance(waveform, Tensor) or not waveform.is_floating_point():
            kind = waveform.dtype if isinstance(waveform, Tensor) else type(waveform).__name__
            raise TypeError(f"{name}: {label} must be a tensor of a float dtype, got {kind}")
    if estimate.shape != reference.shape:
        raise ValueError(
            f"{name}: estimate {tuple(estimate.shape)} and reference {tuple(reference.shape)} differ in shape"
        )
    if estimate.ndim != 3 or 0 in estimate.shape[:2]:
        raise ValueError(
            f"{name}: waveforms must be (batch, channels, samples), none empty, got {tuple(estimate.shape)}"
        )
    pairs = []
    for i, length in enumerate(_checked(name, lengths, batch=estimate.shape[0], samples=estimate.shape[2])):
        if length < min_samples:
            raise ValueError(f"{name}: clip {i} has {length} samples, at least {min_samples} are needed")
        pair = estimate[i, :, :length].detach(), reference[i, :, :length].detach()
        for label, waveform in zip(("estimate", "reference"), pair, strict=True):
            if not waveform.isfinite().all():
                raise ValueError(f"{name}: {label} of clip {i} has NaN or infinite samples, all must be finite")
        pairs.append(pair)
    return pairs


def _checked(name: str, lengths: Tensor | Sequence[int] | None, batch: int, samples: int) -> list[int]:
    if lengths is None:
        return [samples] * batch
    values = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    if not isinstance(values, list) or len(values) != batch:
        shape = tuple(lengths.shape) if isinstance(lengths, Tensor) else (len(values),)
        raise ValueError(f"{name}: lengths must have shape ({batch},), got {shape}")
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name}: lengths must be ints, got {value!r}")
        if not 1 <= value <= samples:
            raise ValueError(f"{name}: length {value} is outside 1..{samples}")
    return values
