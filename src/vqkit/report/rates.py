"""Groups of equal rate: quality is only compared between systems that spend the same bits per token.

Quality at 24 bits is no argument against quality at 12 bits, and a table that sorts both together invites that mistake.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["RateGroup", "rate_groups"]


class _HasRate(Protocol):
    @property
    def bits_per_token(self) -> float: ...


Item = TypeVar("Item", bound=_HasRate)


@dataclass(frozen=True)
class RateGroup(Generic[Item]):
    """Systems of one rate, in the order in which they were given.

    Attributes:
        members: the systems.
        lowest_bits: the smallest bits per token among them.
        highest_bits: the largest.
    """

    members: tuple[Item, ...]
    lowest_bits: float
    highest_bits: float

    @property
    def heading(self) -> str:
        """The rate in words, for example ``24 bits per token`` or ``12–12.1 bits per token``."""
        low, high = f"{self.lowest_bits:.4g}", f"{self.highest_bits:.4g}"
        return f"{low if low == high else f'{low}–{high}'} bit{'' if low == high == '1' else 's'} per token"


def rate_groups(systems: Iterable[Item], tolerance: float = 0.03) -> list[RateGroup[Item]]:
    """Group systems by bits per token.

    Args:
        systems: anything with ``bits_per_token``.
        tolerance: any two members of a group differ by at most this share of the smaller one.

    Returns:
        The groups, lowest rate first.

    Example:
        >>> from types import SimpleNamespace
        >>> systems = [SimpleNamespace(bits_per_token=bits) for bits in (24, 12.1, 48.4, 12)]
        >>> [group.heading for group in rate_groups(systems)]
        ['12–12.1 bits per token', '24 bits per token', '48.4 bits per token']
    """
    given = list(systems)
    runs: list[list[int]] = []
    for i in sorted(range(len(given)), key=lambda i: given[i].bits_per_token):
        # compared with the lowest of the run, not with its neighbour: a chain of small steps must not join far rates
        if runs and given[i].bits_per_token <= given[runs[-1][0]].bits_per_token * (1 + tolerance):
            runs[-1].append(i)
        else:
            runs.append([i])
    return [
        RateGroup(tuple(given[i] for i in sorted(run)), given[run[0]].bits_per_token, given[run[-1]].bits_per_token)
        for run in runs
    ]
