"""Codes of latents that come in blocks, for any quantizer: one that looks at neighbouring frames is given them by overlap."""

import copy
from typing import Self

import torch
from torch import Tensor

from vqkit.counts import check_rate_weight
from vqkit.nn.streaming_context import StreamingContext
from vqkit.quantize import Interpolated, Multiscale, Quantizer
from vqkit.types import Float, Int

__all__ = ["StreamingQuantizer", "reach_frames"]


def reach_frames(quantizer: Quantizer) -> int:
    """Return the quantizer's reach: the largest number of frames before and after a frame that can change its codes.

    Linear interpolation looks at the two neighbours; a stage after it, at what they became.

    Example:
        >>> from vqkit import RVQ, VQ
        >>> reach_frames(RVQ(8, 16, 4)), reach_frames(Interpolated(VQ(8, 16), scale=2, spatial_dims=1))
        (0, 1)
    """
    interpolated = [module for module in quantizer.modules() if isinstance(module, Interpolated) and module.scale > 1]
    return len(interpolated) * quantizer.num_stages  # a module that several stages share is listed once


class StreamingQuantizer:
    """Quantizer with the frames of one signal that it still needs.

    Args:
        quantizer: any but `Multiscale`.
        rate_weight: λ; every frame keeps only the stages that are worth their bits, see `Quantizer.encode`.

    Raises:
        ValueError: a quantizer of several scales, or a λ that is negative or not finite.

    Example:
        >>> from vqkit import VQ
        >>> quantizer = Interpolated(VQ(8, 16), scale=2, spatial_dims=1)
        >>> z, stream = torch.randn(1, 9, 8), StreamingQuantizer(quantizer)
        >>> blocks = torch.cat([stream.push(z[:, :4]), stream.push(z[:, 4:], last=True)], dim=1)
        >>> torch.equal(blocks, quantizer.encode(z))
        True
    """

    def __init__(self, quantizer: Quantizer, *, rate_weight: float | None = None) -> None:
        if any(isinstance(module, Multiscale) for module in quantizer.modules()):
            raise ValueError(
                "a Multiscale quantizer codes whole blocks of frames and cannot stream: encode the signal at once"
            )
        check_rate_weight(rate_weight)
        self._quantizer, self._rate_weight = quantizer, rate_weight
        self._context = StreamingContext(self._encoded, reach_frames(quantizer))

    def push(
        self, z: Float[Tensor, "batch frames dim"], last: bool = False
    ) -> Int[Tensor, "batch new_frames num_codes"]:
        """The codes of the frames whose neighbours are there.

        Args:
            z: the next latents, perhaps none.
            last: nothing follows; the codes at the end of the signal come too.
        """
        codes = self._context.push(z.mT, last)
        if not codes.shape[-1]:
            return torch.zeros(z.shape[0], 0, self._quantizer.num_codes, dtype=torch.long, device=z.device)
        return codes.mT

    def ready(self, time: int) -> int:
        """Return the number of frames whose codes the first ``time`` frames determine."""
        return self._context.ready(time)

    def state(self) -> list[Tensor]:
        """Return the buffered tensors."""
        return self._context.state()

    def lane(self, index: int) -> Self:
        """Return a quantizer that continues one item of the batch by itself."""
        one = copy.copy(self)
        one._context = self._context.lane(index)
        return one

    def _encoded(self, z: Tensor) -> Tensor:
        return self._quantizer.encode(z.mT, rate_weight=self._rate_weight).mT
