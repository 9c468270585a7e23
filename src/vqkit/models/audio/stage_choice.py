"""Choice of frames that get a stage more, or one less, than a rate has room for: where it is heard, at the same bits on average.

    errors of each frame with one stage less, as many, one more ─┬─ × what an error is heard by ─ least sum for the bits ─ stages of frames
    gradient of the distance by the latent ──────────────────────┘

Near the best codes the distance d that is searched by is about Σ h·‖e‖², e the quantization error of a frame and h what it is heard by, so
that its gradient is 2·h·e: h = ‖∂d/∂z‖ / 2‖e‖ comes from the first look of the search, for nothing. Among all choices of as many bits the
sum is least where every frame keeps the stages that are worth the same price of a bit.

References:
    Shoham & Gersho, "Efficient bit allocation for an arbitrary set of quantizers" (1988), IEEE Trans. ASSP 36(9), eq. 3 to 5 (one price of
    a bit for all).
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.models.vqk_files import check_variable_stages
from vqkit.quantize import Quantizer
from vqkit.types import Float, Int

__all__ = ["StageChoice", "cheapest"]

_COUNT_BITS = 1.6  # of a frame's number among three in a file, as the shipped codec's files of speech and music have it
_SMOOTH_FRAMES = 5  # over which h is averaged: one frame's is a guess
_FLATTEN = 0.7  # power of h, for the same reason
_PRICES = 40  # bisections


class _Codec(Protocol):
    quantizer: Quantizer

    @property
    def frame_rate(self) -> float:
        """Frames a second."""


class StageChoice:
    """Stages of frames at a rate, of which their numbers are a part.

    Args:
        quantizer: quantizer of the codec.
        bits: bits that a frame may have on average.

    Attributes:
        usual: stages that fit into the bits, and that a frame has before anything is known of it.
        least, most: stages that frames can get.

    Example:
        >>> from vqkit import RVQ
        >>> choice = StageChoice(RVQ(dim=8, codebook_size=64, num_quantizers=4), bits=12)
        >>> choice.least, choice.usual, choice.most
        (1, 2, 3)
    """

    def __init__(self, quantizer: Quantizer, bits: float) -> None:
        self._quantizer = quantizer
        self._bits = max(bits - _COUNT_BITS, 0.0)
        self.usual = quantizer.stages_within(bits)
        self.least, self.most = max(1, self.usual - 1), min(quantizer.num_stages, self.usual + 1)

    @classmethod
    def at_rate(cls, codec: _Codec, kbps: float) -> "StageChoice | None":
        """The choice that a codec has at a rate; None where all stages fit, none can be spared, or its files cannot count them."""
        quantizer, bits = codec.quantizer, kbps * 1000 / codec.frame_rate * (1 + 1e-9)
        try:
            check_variable_stages(quantizer)
        except ValueError:
            return None
        choice = cls(quantizer, bits)
        return choice if choice.usual < choice.most and quantizer.stage_bits[choice.least - 1] <= choice._bits else None

    def choose(
        self,
        latent: Float[Tensor, "batch frames dim"],
        codes: Int[Tensor, "batch frames num_codes"],
        gradient: Float[Tensor, "batch frames dim"],
    ) -> Int[Tensor, "batch frames"]:
        """Stages of each frame.

        Args:
            latent: what is quantized.
            codes: its codes of `most` stages.
            gradient: of the distance, by the latent as it is decoded with `usual` stages.
        """
        ends = self._quantizer.stage_ends
        numbers = range(self.least, self.most + 1)
        errors = torch.stack(
            [
                (latent - self._quantizer.decode(codes[..., : ends[stages - 1]])).square().sum(dim=-1)
                for stages in numbers
            ],
            dim=-1,
        )
        heard = gradient.norm(dim=-1) / (errors[..., self.usual - self.least].sqrt() + 1e-6) + 1e-12
        around = functional.pad(heard[:, None], (_SMOOTH_FRAMES // 2,) * 2, mode="replicate")
        heard = functional.avg_pool1d(around, _SMOOTH_FRAMES, stride=1)[:, 0] ** _FLATTEN
        bits = torch.tensor([self._quantizer.stage_bits[stages - 1] for stages in numbers]).to(errors)
        return self.least + cheapest(errors * heard[..., None], bits, self._bits)

    def kept(
        self, codes: Int[Tensor, "batch frames num_codes"], stages: Int[Tensor, "batch frames"] | None = None
    ) -> Int[Tensor, "batch frames num_codes"]:
        """The codes of `most` stages with −1 behind those that each frame has, `usual` by default."""
        ends = torch.tensor((0, *self._quantizer.stage_ends), device=codes.device)
        end = ends[self.usual] if stages is None else ends[stages][..., None]
        return torch.where(torch.arange(codes.shape[-1], device=codes.device) < end, codes, -1)


def cheapest(
    costs: Float[Tensor, "*frames choices"], bits: Float[Tensor, " choices"], most: float
) -> Int[Tensor, "*frames"]:
    """The choices of least cost for at most so many bits on average, among those of one price of a bit.

    Args:
        costs: cost of each choice.
        bits: bits of each choice, fewer first.
        most: bits on average; the first choice for all where even that takes more.

    Example:
        >>> costs = torch.tensor([[9.0, 1.0], [9.0, 8.0], [9.0, 5.0]])
        >>> cheapest(costs, torch.tensor([1.0, 2.0]), most=1.7)
        tensor([1, 0, 1])
    """
    low, high = 0.0, 2 * float(costs.max()) / max(float(bits[1] - bits[0]), 1e-9) + 1e-9
    if float(bits[costs.argmin(dim=-1)].mean()) <= most:
        return costs.argmin(dim=-1)
    for _ in range(_PRICES):
        price = (low + high) / 2
        low, high = (price, high) if float(bits[(costs + price * bits).argmin(dim=-1)].mean()) > most else (low, price)
    return (costs + high * bits).argmin(dim=-1)
