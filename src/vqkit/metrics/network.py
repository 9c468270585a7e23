"""What every network that a metric asks has: a name, and settings that say which weights it is."""

from typing import Any, Protocol

__all__ = ["Network", "SoundNetwork"]


class Network(Protocol):
    """A network that a metric asks about its items.

    Attributes:
        name: short name, part of the metric's.
        settings: every parameter, the digest or name of its weights included, JSON-able.
    """

    @property
    def name(self) -> str:
        """Short name."""

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter."""


class SoundNetwork(Network, Protocol):
    """A network that is asked about clips; the sample rate is among its settings.

    Attributes:
        min_samples: shortest clip it takes.
    """

    @property
    def min_samples(self) -> int:
        """Shortest clip."""
