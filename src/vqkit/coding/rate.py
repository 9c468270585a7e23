"""How many stages a file gets: by bitrate, by number, or by the largest size that the file may have."""

from dataclasses import dataclass
from typing import BinaryIO

from vqkit.bitstream import inspect
from vqkit.models.rates import stages_within
from vqkit.models.waveform_codec import WaveformCodec

__all__ = ["Rate"]


@dataclass(frozen=True)
class Rate:
    """At most one of the three is given; none means all stages.

    Args:
        kbps: as many stages as fit into this rate, before entropy coding.
        stages: so many.
        max_bytes: as many as fit into a file of so many bytes, headers included.

    Raises:
        ValueError: more than one is given, or one is not above 0.

    Example:
        >>> Rate(max_bytes=20000)
        Rate(kbps=None, stages=None, max_bytes=20000)
    """

    kbps: float | None = None
    stages: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1:
            raise ValueError(f"only one of kbps, stages and max_bytes can be given, got {' and '.join(given)}")
        for name, value in given.items():
            if not value > 0:
                raise ValueError(f"{name} is {value}, it must be more than 0")

    def stages_of(self, codec: WaveformCodec) -> int:
        """Stages to encode; for ``max_bytes`` all, of which `fitting_stages` keeps some.

        Raises:
            ValueError: kbps is below the first stage, or there are fewer stages.
        """
        most = codec.quantizer.num_stages
        if self.kbps is not None:
            return stages_within(codec.rates_kbps, self.kbps)
        if self.stages is not None and self.stages > most:
            raise ValueError(f"stages is {self.stages}, this codec has 1 to {most}")
        return most if self.stages is None else self.stages


def fitting_stages(file: BinaryIO, max_bytes: int) -> tuple[int, int]:
    """The most stages with which a file has at most so many bytes, and the bytes it then has.

    Args:
        file: a ``.vqk`` file, open and at its beginning.
        max_bytes: headers included.

    Raises:
        ValueError: not even one stage fits; the message names the size it needs.
    """
    sizes: list[int] = inspect(file)["thinned_bytes"]
    fitting = sum(size <= max_bytes for size in sizes)
    if not fitting:
        raise ValueError(
            f"max_bytes is {max_bytes}, and the smallest possible file, of one stage, has {sizes[0]} bytes"
        )
    return fitting, sizes[fitting - 1]
