"""Which windows a multi-resolution loss looks through at a step."""

from collections.abc import Sequence

import torch

__all__ = ["drawn_windows"]


def drawn_windows(window_samples: Sequence[int], count: int | None) -> list[int]:
    """So many of the windows, each equally likely, by PyTorch's global generator; all of them without a count.

    Example:
        >>> len(drawn_windows((128, 256, 512), 2)), drawn_windows((128, 256), None)
        (2, [128, 256])
    """
    if count is None or count == len(window_samples):
        return list(window_samples)
    return [window_samples[index] for index in torch.randperm(len(window_samples))[:count].tolist()]
