"""What `compare` asks of a backbone: train a model around a quantizer, load it again, and measure it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vqkit.data import Clip
from vqkit.quantize import Quantizer

__all__ = ["Backbone", "Note", "Training"]

Note = Callable[[str], None]
"""Takes a short word on where a run stands."""


@dataclass(frozen=True)
class Training:
    """How a training went.

    Attributes:
        seconds: wall-clock time of the training alone.
        steps: steps at which the loss was noted.
        loss: the loss there.
    """

    seconds: float
    steps: list[int]
    loss: list[float]


class Backbone(ABC):
    """A model family with a place for a quantizer. Subclasses are dataclasses: their fields are the settings and the flags."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of the latent, which every quantizer of the comparison gets."""

    @property
    @abstractmethod
    def sources(self) -> tuple[str, ...]:
        """Rooms of vqkit (and files of compare) whose code decides what training gives: when it changes, cached runs are stale."""

    @abstractmethod
    def train(self, quantizer: Quantizer, clips: Sequence[Clip], seed: int, folder: Path, note: Note) -> Training:
        """Train, and leave the model in ``folder``; if the folder holds an unfinished training, go on with it."""

    @abstractmethod
    def measure(
        self,
        folder: Path,
        train: Sequence[Clip],
        test: Sequence[Clip],
        listen: Sequence[Clip],
        details: bool,
        note: Note,
    ) -> dict[str, Any]:
        """Measure the model in ``folder`` on the test clips.

        Returns:
            The fields of a run that `summary` joins into a row; reconstructions of the clips to listen to lie in ``folder``. With
            ``details``, also what is shown for the first seed only.
        """

    @abstractmethod
    def originals(self, listen: Sequence[Clip], folder: Path) -> list[dict[str, Any]]:
        """Write the clips to listen to as the model hears them, and describe them."""

    @property
    @abstractmethod
    def protocols(self) -> dict[str, Any]:
        """Protocol of every metric, by name."""

    def settings(self) -> dict[str, Any]:
        """The fields, as JSON."""
        return asdict(self)  # type: ignore[call-overload]
