"""Choice of a file's number of stages: by rate, by number, or by the largest size that the file may have."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vqkit.counts import check_numbers, check_rate_weight, check_stages
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.vqk_files import check_variable_stages
from vqkit.quantize import Quantizer

__all__ = ["Rate", "spooled"]


@dataclass(frozen=True)
class Rate:
    """A rate for each kind of file, or ``stages``, or ``max_bytes``; none means all stages. ``rate_weight`` goes with any of them.

    Args:
        kbps: highest rate of sound and video: as many stages as fit into this rate, before entropy coding. Where the codes of sound are
            refined, frames get one more or less, see `vqkit.models.audio.stage_choice`.
        stages: number of stages to keep.
        max_bytes: keep as many stages as fit into a file of so many bytes, headers included; of images the finest step, where the model has
            steps.
        bpp: highest rate of images: the finest step, or as many stages, as fit into a file of so many bits a pixel, headers included.
        rate_weight: λ of error + λ·bits: every frame or cell keeps only the stages that are worth their bits, see `Quantizer.encode`; or
            the step of this λ.

    Raises:
        ValueError: more than one of the first four is given, one of them is not above 0, λ is negative or not finite, or one is True or
            False.

    Example:
        >>> Rate(max_bytes=20000)
        Rate(kbps=None, stages=None, max_bytes=20000, bpp=None, rate_weight=None)
    """

    kbps: float | None = None
    stages: int | None = None
    max_bytes: int | None = None
    bpp: float | None = None
    rate_weight: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None and name != "rate_weight"}
        check_rate_weight(self.rate_weight)
        if len(given) > 1 and given.keys() != {"kbps", "bpp"}:
            raise ValueError(f"only one of stages, max_bytes, and kbps or bpp can be given, got {' and '.join(given)}")
        check_numbers(**given)
        for name, value in given.items():
            if not value > 0:
                raise ValueError(f"{name} is {value}, it must be more than 0")

    def stages_of(self, codec: AudioTokenizer) -> int:
        """Stages of sound to encode; for ``max_bytes`` all, of which `vqkit.bitstream.thin_to_fit` keeps some.

        Raises:
            ValueError: kbps is below the first stage, there are fewer stages, or the quantizer cannot choose them frame by frame.
        """
        self.check_choice(codec.quantizer)
        if self.kbps is not None:
            return codec.stages_within(self.kbps)
        return self.check_stages(codec.quantizer.num_stages, "codec")

    def check_choice(self, quantizer: Quantizer) -> None:
        """Check that the quantizer can choose the number of stages for each vector, where that is requested.

        Raises:
            ValueError: it has no stages to leave out, looks at neighbours, or chooses the stages of every piece by themselves.
        """
        if self.rate_weight is not None and not quantizer.rate_weights:
            check_variable_stages(quantizer)

    def check_stages(self, most: int, model: str) -> int:
        """Return the requested number of stages after checking it against those that the model has.

        Raises:
            ValueError: there are fewer.
        """
        return most if self.stages is None else check_stages(self.stages, most, f"this {model}")


@contextmanager
def spooled(target: str | Path | BinaryIO, limited: bool) -> Iterator[str | Path | BinaryIO]:
    """Yield the target, or a temporary file where ``limited``: the number of stages that fit is known when all are written."""
    if not limited:
        yield target
    else:
        with tempfile.TemporaryFile() as file:
            yield file
