"""How many of the first stages fit into a rate, in whatever unit."""

from collections.abc import Sequence

__all__ = ["stages_within"]


def stages_within(rates: Sequence[float], limit: float, name: str, owner: str, unit: str) -> int:
    """Count the first stages whose rate is within a limit.

    Args:
        rates: rate of the first stage, of the first two, ….
        limit: highest rate.
        name: name of the limit, for the message.
        owner: what has these rates, for the message: ``"this codec has"``.
        unit: unit of the rates, for the message.

    Returns:
        At least 1.

    Raises:
        ValueError: not even the first stage fits.

    Example:
        >>> stages_within((0.6, 1.2, 1.8), 1.3, "kbps", "this codec has", "kbit/s")
        2
    """
    stages = sum(rate <= limit * (1 + 1e-9) + 1e-9 for rate in rates)  # they are rounded, or sums of logarithms
    if stages == 0:
        known = ", ".join(f"{rate:.4g}" for rate in rates)
        raise ValueError(f"{name}={limit:g} is below the first stage; {owner} the rates {known} {unit}")
    return stages
