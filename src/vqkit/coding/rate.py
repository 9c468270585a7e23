"""How many stages a file gets: by rate, by number, or by the largest size that the file may have."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vqkit.models.audio.tokenizer import AudioTokenizer

__all__ = ["Rate", "spooled"]


@dataclass(frozen=True)
class Rate:
    """A rate for each kind of file, or ``stages``, or ``max_bytes``; none means all stages.

    Args:
        kbps: highest rate of sound: as many stages as fit into this rate, before entropy coding.
        stages: number of stages to keep.
        max_bytes: keep as many stages as fit into a file of so many bytes, headers included.
        bpp: highest rate of images: as many stages as fit into a file of so many bits a pixel, headers included.

    Raises:
        ValueError: more than one is given, or one is not above 0.

    Example:
        >>> Rate(max_bytes=20000)
        Rate(kbps=None, stages=None, max_bytes=20000, bpp=None)
    """

    kbps: float | None = None
    stages: int | None = None
    max_bytes: int | None = None
    bpp: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1 and given.keys() != {"kbps", "bpp"}:
            raise ValueError(f"only one of stages, max_bytes, and kbps or bpp can be given, got {' and '.join(given)}")
        for name, value in given.items():
            if not value > 0:
                raise ValueError(f"{name} is {value}, it must be more than 0")

    def stages_of(self, codec: AudioTokenizer) -> int:
        """Stages of sound to encode; for ``max_bytes`` all, of which `vqkit.bitstream.thin_to_fit` keeps some.

        Raises:
            ValueError: kbps is below the first stage, or there are fewer stages.
        """
        if self.kbps is not None:
            return codec.stages_within(self.kbps)
        return self.check_stages(codec.quantizer.num_stages, "codec")

    def check_stages(self, most: int, model: str) -> int:
        """The number asked for, of so many.

        Raises:
            ValueError: there are fewer.
        """
        if self.stages is not None and self.stages > most:
            raise ValueError(f"stages is {self.stages}, this {model} has 1 to {most}")
        return most if self.stages is None else self.stages


@contextmanager
def spooled(target: str | Path | BinaryIO, limited: bool) -> Iterator[str | Path | BinaryIO]:
    """The target, or a file that is nowhere: how many stages fit is known when all are written."""
    if not limited:
        yield target
    else:
        with tempfile.TemporaryFile() as file:
            yield file
