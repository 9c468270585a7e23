"""Interface of the backbones of `compare`: train a model around a quantizer, load it again, and measure it."""

import hashlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from vqkit.code_digest import code_digest
from vqkit.compare.measure import Measure
from vqkit.modality import Modality
from vqkit.models.tokenizer import Tokenizer
from vqkit.quantize import Quantizer

__all__ = ["Backbone", "Note", "Training", "training_digest"]

Note = Callable[[str], None]
"""Callback that takes a short text on the progress of a run."""


@dataclass(frozen=True)
class Training:
    """Record of a training: its time and its loss curve.

    Attributes:
        seconds: wall-clock time of the training alone.
        steps: steps at which the loss was recorded.
        loss: losses at these steps.
    """

    seconds: float
    steps: list[int]
    loss: list[float]


class Backbone(ABC):
    """A model family with a place for a quantizer. Subclasses are dataclasses: their fields are the settings and the flags.

    Attributes:
        modality: modality of the models' signals.
    """

    modality: ClassVar[Modality]

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of the latent, which every quantizer of the comparison gets."""

    @property
    @abstractmethod
    def training_code(self) -> tuple[Any, ...]:
        """Code of the training, beside the quantizers: classes, functions or names of modules, followed through their imports.

        When that code changes, cached runs are stale; see `vqkit.code_digest`.
        """

    @property
    @abstractmethod
    def measures(self) -> Measure[Any]:
        """Measurement of the models; when its code changes, runs are measured again."""

    @abstractmethod
    def train(self, quantizer: Quantizer, items: Sequence[Any], seed: int, folder: Path, note: Note) -> Training:
        """Train, and leave the model in ``folder``; if the folder holds an unfinished training, go on with it."""

    @abstractmethod
    def saved(self, folder: Path) -> Tokenizer:
        """The model that `train` left in a folder, in evaluation mode."""

    def measure(
        self,
        folder: Path,
        train: Sequence[Any],
        test: Sequence[Any],
        shown: Sequence[Any],
        details: bool,
        note: Note,
    ) -> dict[str, Any]:
        """Measure the model in ``folder`` on the test items.

        Returns:
            The fields of a run that `summary` joins into a row; reconstructions of the items to show lie in ``folder``. With
            ``details``, also what is shown for the first seed only.
        """
        note("measuring")
        return self.measures.measure(self.saved(folder), train, test, shown, details, folder)

    def settings(self) -> dict[str, Any]:
        """The fields, as JSON."""
        return asdict(self)  # type: ignore[call-overload]


def training_digest(backbone: Backbone) -> str:
    """Digest of the code that trains a backbone around any quantizer."""
    own = "".join(_own_text(cls) for cls in type(backbone).__mro__ if issubclass(cls, Backbone))
    code = code_digest("vqkit.quantize", *backbone.training_code)
    return hashlib.sha256((own + code).encode()).hexdigest()[:16]


@cache  # what runs is what was loaded
def _own_text(cls: type) -> str:
    """A backbone's own file, without what it imports: a part of that measures."""
    return Path(inspect.getfile(cls)).read_text(encoding="utf-8")
