"""How many stages a file gets: by rate, by number, or by the largest size that the file may have."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vqkit.bitstream import inspect, thin
from vqkit.models.image_tokenizer import ImageTokenizer
from vqkit.models.rates import stages_within
from vqkit.models.waveform_codec import WaveformCodec

__all__ = ["Rate", "spooled", "thin_to_fit"]


@dataclass(frozen=True)
class Rate:
    """A rate for each kind of file, or ``stages``, or ``max_bytes``; none means all stages.

    Args:
        kbps: of sound: as many stages as fit into this rate, before entropy coding.
        stages: so many.
        max_bytes: as many as fit into a file of so many bytes, headers included.
        bpp: of images: as many stages as fit into so many bits a pixel, before entropy coding.

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

    def stages_of(self, codec: WaveformCodec) -> int:
        """Stages of sound to encode; for ``max_bytes`` all, of which `thin_to_fit` keeps some.

        Raises:
            ValueError: kbps is below the first stage, or there are fewer stages.
        """
        if self.kbps is not None:
            return stages_within(codec.rates_kbps, self.kbps)
        return self.check_stages(codec.quantizer.num_stages, "codec")

    def stages_of_image(self, tokenizer: ImageTokenizer, height: int, width: int) -> int:
        """The same of an image of so many pixels.

        Raises:
            ValueError: bpp is below the first stage, or there are fewer stages.
        """
        if self.bpp is not None:
            return tokenizer.stages_within(self.bpp, height, width)
        return self.check_stages(tokenizer.quantizer.num_stages, "tokenizer")

    def check_stages(self, most: int, model: str) -> int:
        """The number asked for, of so many.

        Raises:
            ValueError: there are fewer.
        """
        if self.stages is not None and self.stages > most:
            raise ValueError(f"stages is {self.stages}, this {model} has 1 to {most}")
        return most if self.stages is None else self.stages


@contextmanager
def spooled(target: str | Path | BinaryIO, max_bytes: int | None) -> Iterator[str | Path | BinaryIO]:
    """The target, or a file that is nowhere: how many stages fit is known when all are written."""
    if max_bytes is None:
        yield target
    else:
        with tempfile.TemporaryFile() as file:
            yield file


def thin_to_fit(file: BinaryIO, target: str | Path | BinaryIO, max_bytes: int) -> tuple[int, int]:
    """Write as many stages of a file as fit into so many bytes.

    Args:
        file: a whole ``.vqk`` file that can be seeked.
        target: path or stream.
        max_bytes: headers included.

    Returns:
        The stages, and the bytes written.

    Raises:
        ValueError: not even one stage fits; the message names the size it needs.
    """
    file.seek(0)
    stages, size = _fitting_stages(file, max_bytes)
    file.seek(0)
    thin(file, target, stages)
    return stages, size


def _fitting_stages(file: BinaryIO, max_bytes: int) -> tuple[int, int]:
    sizes: list[int] = inspect(file)["thinned_bytes"]
    fitting = sum(size <= max_bytes for size in sizes)
    if not fitting:
        raise ValueError(
            f"max_bytes is {max_bytes}, and the smallest possible file, of one stage, has {sizes[0]} bytes"
        )
    return fitting, sizes[fitting - 1]
