"""Fréchet distance between the embeddings of estimates and references.

Conventions:
    A distance is that of its extractor: the metric's name is ``fd_<extractor>``, and it is shown as "FD-<extractor>".
    The name FAD belongs to one extractor, VGGish, which is not here. Values compare only within one extractor and one
    evaluation set: the distance is biased upwards by few embeddings, the more the larger their dimension.
    Each embedding weighs the same, so a long clip weighs more than a short one.

Metrics:
    :class:`FrechetDistance`, lower is better; :class:`Extractor` is what it needs.

References:
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium, 2017 (equation 6);
    Kilgour et al., Fréchet Audio Distance, 2019; Dowson & Landau, 1982 (the formula).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from vqkit.metrics.clips import pairs_of_clips
from vqkit.metrics.gaussian_distance import SIDES, GaussianDistance, Side
from vqkit.metrics.network import SoundNetwork
from vqkit.types import Float, Int

__all__ = ["Extractor", "FrechetDistance"]


class Extractor(SoundNetwork, Protocol):
    """Embeds a clip.

    Attributes:
        dim: length of an embedding.
    """

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    def __call__(self, waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "embeddings dim"]:
        """Embed a clip, given in float64.

        Args:
            waveform: waveform at the extractor's sample rate.

        Returns:
            One or more embeddings.
        """


class FrechetDistance(GaussianDistance):
    """Fréchet distance ‖μe − μr‖² + tr(Σe + Σr − 2(Σe Σr)^½) of Gaussians fitted to the embeddings.

    Sums and sums of outer products are kept in float64: memory is 2·dim² numbers, however long the stream, and ranks
    add up exactly. Covariances are the unbiased ones.

    Args:
        extractor: what embeds a clip, for instance :class:`vqkit.metrics.LogMelStatistics`.

    Example:
        >>> from vqkit.metrics import LogMelStatistics
        >>> distance = FrechetDistance(LogMelStatistics(16000))
        >>> reference = torch.randn(1, 1, 64000, generator=torch.Generator().manual_seed(0))
        >>> distance.update(0.1 * reference, reference)  # 20 dB: every one of 32 mean log10 powers is off by 2
        >>> round(distance.compute().item())
        128
    """

    def __init__(self, extractor: Extractor) -> None:
        self.name = f"fd_{extractor.name}"  # before __init__, which names the states after it
        super().__init__(extractor.dim)
        self.extractor = extractor
        self.description = (
            f"FD-{extractor.name}: Fréchet distance between Gaussians fitted to the embeddings of all estimates and of "
            "all references, unbiased covariances; each embedding weighs the same"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The extractor's."""
        return {"extractor": self.extractor.name, "dim": self.extractor.dim, **self.extractor.settings}

    def update(
        self,
        estimate: Float[Tensor, "batch channels samples"],
        reference: Float[Tensor, "batch channels samples"],
        lengths: Int[Tensor, "batch"] | Sequence[int] | None = None,
    ) -> None:
        """Add a batch of clips.

        Args:
            estimate: reconstructed waveforms.
            reference: original waveforms, of the same shape.
            lengths: real samples of each clip; None means all.

        Raises:
            TypeError: as of every waveform metric.
            ValueError: as of every waveform metric, or the extractor gives something else than finite
                ``(embeddings, dim)``.
        """
        pairs = pairs_of_clips(self.name, self.extractor.min_samples, estimate, reference, lengths)
        with torch.no_grad():
            embedded: list[tuple[Side, Tensor]] = [
                (side, self.extractor(clip.double())) for pair in pairs for side, clip in zip(SIDES, pair, strict=True)
            ]
        self.add(embedded)
