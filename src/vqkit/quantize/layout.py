"""How the codes of a vector are laid out: alphabets, stages, and the rates that follow."""

import math
from abc import ABC, abstractmethod
from itertools import accumulate

from vqkit.quantize.rates import stages_within

__all__ = ["CodeLayout"]


class CodeLayout(ABC):
    """Codes of one vector: stage-major, then piece-major, then sub-position."""

    @property
    @abstractmethod
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabet of each code: code i is in 0 … code_sizes[i] − 1."""

    @property
    @abstractmethod
    def codes_per_stage(self) -> tuple[int, ...]:
        """How many consecutive codes each stage has; their sum is ``num_codes``."""

    @property
    def num_codes(self) -> int:
        """Codes a position."""
        return len(self.code_sizes)

    @property
    def num_stages(self) -> int:
        """Stages that can be decoded one after the other."""
        return len(self.codes_per_stage)

    @property
    def bits_per_vector(self) -> float:
        """Rate: Σ log2 of the code sizes, bits a position."""
        return sum(math.log2(size) for size in self.code_sizes)

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """Number of codes of the first stage, of the first two stages, …; the last is ``num_codes``."""
        return tuple(accumulate(self.codes_per_stage))

    @property
    def stage_bits(self) -> tuple[float, ...]:
        """Rate of the first stage, of the first two stages, …, in bits a position; the last is ``bits_per_vector``."""
        bits = [0.0, *accumulate(math.log2(size) for size in self.code_sizes)]
        return tuple(bits[end] for end in self.stage_ends)

    def stages_within(self, bits: float) -> int:
        """Most stages whose rate is at most ``bits`` a position.

        Raises:
            ValueError: not even the first stage fits.

        Example:
            >>> from vqkit import RVQ
            >>> RVQ(dim=8, codebook_size=64, num_quantizers=4).stages_within(20)
            3
        """
        return stages_within(self.stage_bits, bits, "bits", "this quantizer has", "bits a vector")
