"""Interfaces of the networks behind metrics: a name, and settings that identify the weights."""

from typing import Any, Protocol

__all__ = ["Network", "SoundNetwork"]


class Network(Protocol):
    """Network whose output for its items a metric uses.

    Attributes:
        name: short name, part of the metric's.
        settings: every parameter, the digest or name of its weights included, JSON-able.
    """

    @property
    def name(self) -> str:
        """Short name, part of the metric's."""

    @property
    def settings(self) -> dict[str, Any]:
        """Every parameter, JSON-able; they include the digest or name of the weights."""


class SoundNetwork(Network, Protocol):
    """Network that takes clips of sound; the sample rate is among its settings.

    Attributes:
        min_samples: number of samples of the shortest clip it takes.
    """

    @property
    def min_samples(self) -> int:
        """Number of samples of the shortest clip that the network takes."""
