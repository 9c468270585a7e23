"""How the codes of a vector are laid out: alphabets, stages, and the rates that follow."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from vqkit.counts import check_stages
from vqkit.stages import stage_bits, stage_ends, stages_within
from vqkit.types import Int

__all__ = ["CodeLayout"]


class CodeLayout(ABC):
    """Codes of one vector: stage-major, then piece-major, then sub-position."""

    __slots__ = ()  # beside nn.Module it must not bring a dict of its own: fully_shard changes the class of a module

    @property
    @abstractmethod
    def code_sizes(self) -> tuple[int, ...]:
        """Alphabet of each code: code i is in 0 … code_sizes[i] − 1."""

    @property
    @abstractmethod
    def codes_per_stage(self) -> tuple[int, ...]:
        """How many consecutive codes each stage has; their sum is ``num_codes``."""

    @property
    def code_density(self) -> tuple[float, ...]:
        """Share of the positions that have each code: 1, but for the coarse scales of a `Multiscale`; elsewhere they have −1."""
        return (1.0,) * len(self.code_sizes)

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
        """Rate: Σ density · log2 of the code sizes, bits a position."""
        return sum(share * math.log2(size) for size, share in zip(self.code_sizes, self.code_density, strict=True))

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """Number of codes of the first stage, of the first two stages, …; the last is ``num_codes``."""
        return stage_ends(self.codes_per_stage)

    @property
    def stage_bits(self) -> tuple[float, ...]:
        """Rate of the first stage, of the first two stages, …, in bits a position; the last is ``bits_per_vector``."""
        return stage_bits(self.code_sizes, self.codes_per_stage, self.code_density)

    @property
    def rate_weights(self) -> tuple[float, ...]:
        """The λ at which ``encode(z, rate_weight=λ)`` gives other rates with all stages kept, from the most bits to the fewest.

        Empty, but for a `Stepped`: elsewhere λ leaves out stages, or nothing.
        """
        return ()

    @property
    def block(self) -> int:
        """Positions along each axis that `pack` makes one vector of codes of: 1, but for a `Multiscale`."""
        return 1

    @property
    def packed_sizes(self) -> tuple[int, ...]:
        """Alphabet of each code of a packed block."""
        return self.code_sizes

    @property
    def packed_per_stage(self) -> tuple[int, ...]:
        """Codes of each stage of a packed block."""
        return self.codes_per_stage

    def pack(self, codes: Int[Tensor, "batch *spatial codes"]) -> Int[Tensor, "batch *blocks packed"]:
        """Codes as a ``.vqk`` file or a language model takes them: one vector of codes of each block, all of them there.

        Args:
            codes: codes of all stages or of the first ones, without masked positions.

        Returns:
            The codes themselves, where every position has all of them; see `Multiscale` for the other case.
        """
        self._check_packable()
        return codes

    def unpack(
        self, packed: Int[Tensor, "batch *blocks packed"], size: Sequence[int]
    ) -> Int[Tensor, "batch *spatial codes"]:
        """The inverse of `pack`.

        Args:
            packed: packed codes of all stages or of the first ones.
            size: positions along each axis of the grid.

        Raises:
            ValueError: another number of blocks or of codes than such a grid has.
        """
        self._check_packable()
        if tuple(packed.shape[1:-1]) != tuple(size):
            raise ValueError(
                f"packed codes of a grid {tuple(size)} must be (batch, *grid, codes), got shape {tuple(packed.shape)}"
            )
        return packed

    def _check_packable(self) -> None:
        if set(self.code_density) != {1.0}:
            raise ValueError(
                f"{type(self).__name__} has stages of several scales beside others: only a Multiscale can be packed"
            )

    def first_stages(self, codes: Int[Tensor, "*shape codes"], stages: int | None) -> Int[Tensor, "*shape kept"]:
        """The codes of the first so many stages; of all by default.

        Raises:
            ValueError: there are not so many stages.

        Example:
            >>> import torch
            >>> from vqkit import RVQ
            >>> RVQ(dim=8, codebook_size=64, num_quantizers=4).first_stages(torch.zeros(1, 5, 4, dtype=torch.int64), 3).shape
            torch.Size([1, 5, 3])
        """
        if stages is None:
            return codes
        check_stages(stages, self.num_stages)
        return codes[..., : self.stage_ends[stages - 1]]

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
