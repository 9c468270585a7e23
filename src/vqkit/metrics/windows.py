"""Start positions of the windows of a clip, for networks that take inputs of a fixed length.

Conventions:
    Windows are spread evenly from the first sample to the last: none is dropped at the end, none is padded.

Metrics:
    None: :mod:`vqkit.metrics.sound_network` and ``ast_classifier`` average over these windows.
"""

__all__ = ["window_starts"]


def window_starts(length: int, window: int, hop: int) -> list[int]:
    """Return the first positions of as few windows as cover a clip at most ``hop`` apart.

    Args:
        length: length of the clip, in samples or frames.
        window: length of each window, in the same unit.
        hop: largest distance between windows.

    Returns:
        The positions, rising; ``[0]`` for a clip no longer than a window.

    Example:
        >>> window_starts(100, 40, 40), window_starts(30, 40, 40)
        ([0, 30, 60], [0])
    """
    rest = max(0, length - window)
    steps = -(-rest // hop)
    return [round(i * rest / steps) for i in range(steps + 1)] if steps else [0]
