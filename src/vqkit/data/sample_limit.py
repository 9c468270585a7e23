"""How much may be decoded of a file from a stranger: a few kilobytes can claim, or hold, gigabytes of samples."""

from pathlib import Path

__all__ = ["check_samples"]


def check_samples(name: str | Path, samples: int, channels: int, max_samples: int | None) -> None:
    """Refuse more samples than are allowed: called with what a header states, and again with what really comes.

    Args:
        name: of the file, for the message.
        samples: a channel.
        channels: number of channels.
        max_samples: most samples of all channels together; None allows any number.

    Raises:
        ValueError: there are more, or max_samples is below 1.

    Example:
        >>> check_samples("a.wav", 48000, 2, max_samples=96000)
        >>> check_samples("a.wav", 48001, 2, max_samples=96000)
        Traceback (most recent call last):
        ...
        ValueError: a.wav has 48001 samples or more in each of 2 channels; max_samples allows 96000 in all
    """
    if max_samples is None:
        return
    if max_samples < 1:
        raise ValueError(f"max_samples is {max_samples}, it must be at least 1")
    if samples * channels > max_samples:
        each = f"in each of {channels} channels" if channels != 1 else "in one channel"
        raise ValueError(f"{name} has {samples} samples or more {each}; max_samples allows {max_samples} in all")
