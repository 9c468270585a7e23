"""Kinds of content that can be coded, with the files they come in and the models that code them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from vqkit.coding.coded import Coded, Watch, unwatched
from vqkit.coding.rate import Rate
from vqkit.data import MAX_MEGAPIXELS
from vqkit.modality import Modality

__all__ = ["Encoding", "Kind"]


@dataclass(frozen=True)
class Encoding:
    """Settings of the encoding that apply to every file; picklable.

    Attributes:
        rate: stages to keep.
        plain: plain bits although the model has a prior.
        licence: licence of the content, for the header.
        metadata: free text by name, for the header.
        max_megapixels: refuse an image, or a video in all frames, whose header says more, in 10^6 pixels.
        strict: refuse sound of which something is missing, cannot be decoded or is doubtful.
        level_rounds: rounds of sound, as in `AudioTokenizer.compress`; None leaves them to the codec.
        refine_steps: steps of sound, likewise.
        choose: whether a kind of which several models ship may take for each file the one that serves it best.
    """

    rate: Rate
    plain: bool = False
    licence: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    max_megapixels: float = MAX_MEGAPIXELS
    strict: bool = False
    level_rounds: int | None = None
    refine_steps: int | None = None
    choose: bool = False

    @property
    def for_header(self) -> dict[str, Any]:
        """Header arguments, by name, that every kind writes in the same way."""
        return {"plain": self.plain, "licence": self.licence, "metadata": self.metadata}


@dataclass(frozen=True)  # all of a class are equal, in other processes too
class Kind(ABC):
    """Coding of the files of one modality. The model is one of this kind, in evaluation mode.

    Attributes:
        modality: modality of the content.
        read: suffixes of files that can be encoded, in lower case: those of other modalities too that hold such a signal.
        written: suffixes of files that can be made, the usual one first.
        token_model: name of the model that ships whose codes are tokens, where another one makes the smaller files; else None.
    """

    modality: ClassVar[Modality]
    read: ClassVar[frozenset[str]]
    written: ClassVar[tuple[str, ...]]
    token_model: ClassVar[str | None] = None

    @property
    def name(self) -> str:
        """Name of the content of such files, in the plural, for messages."""
        return self.modality.plural

    @property
    def rate(self) -> str:
        """The field of `Rate` that limits the rate of this kind."""
        return self.modality.rate_name

    @abstractmethod
    def load(self, folder: str | None) -> Any:
        """The model in a folder of ``save_pretrained``; by default the one that ships.

        Raises:
            ImportError: a package is missing that this kind needs.
            ValueError: it is no such model.
        """

    @abstractmethod
    def check(self, model: Any, rate: Rate) -> None:
        """Check a rate, as far as that is possible before anything begins.

        Raises:
            ValueError: the model cannot keep to it, whatever the file.
        """

    @abstractmethod
    def encode(
        self, model: Any, source: str | Path | BinaryIO, target: str | Path | BinaryIO, how: Encoding, watch: Watch
    ) -> Coded:
        """Encode a file into a ``.vqk`` file."""

    def encode_together(
        self,
        model: Any,
        sources: Sequence[str | Path | BinaryIO],
        targets: Sequence[str | Path | BinaryIO],
        how: Encoding,
        lanes: int,
        at: Callable[[int], None] = lambda index: None,
    ) -> list[Coded | Exception]:
        """Encode several files in one batch through the networks; one after the other, where a kind has no better way.

        Args:
            model: Model of the kind.
            sources: Files to encode; those of similar lengths or sizes next to each other.
            targets: One for each source.
            how: Settings of the encoding, without ``strict``.
            lanes: Items that the networks see at once.
            at: Called with the number of the source that is read next, and with −1 before the networks compute.

        Returns:
            What was written, or the exception that says why not, in the order of the sources.
        """
        results: list[Coded | Exception] = []
        for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
            at(number)
            try:
                results.append(self.encode(model, source, target, how, unwatched))
            except Exception as error:
                results.append(error)
        return results

    @abstractmethod
    def decode(
        self,
        model: Any,
        source: str | Path | BinaryIO,
        target: str | Path | BinaryIO,
        suffix: str,
        watch: Watch,
        overwrite: bool = True,
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> Coded:
        """Decode a ``.vqk`` file into a file; the suffix is for an open file or pipe, the limit for images and video."""
