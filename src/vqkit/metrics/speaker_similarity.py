"""Does the reconstruction sound like the same speaker?

Conventions:
    A similarity is that of its embedder: the metric's name is ``speaker_similarity_<embedder>``. Cosines lie in [−1, 1];
    what value tells two speakers apart differs from embedder to embedder.
    vqkit ships no embedder. The package resemblyzer carries one, but as a pickle, which vqkit does not open, and its
    webrtcvad imports ``pkg_resources``, which setuptools no longer has; so there is no adapter for it.

Metrics:
    :class:`SpeakerSimilarity`, higher is better; :class:`SpeakerEmbedder` is what it needs, and
    :class:`vqkit.metrics.XVectorEmbedder` is one.

References:
    Wang et al., Neural codec language models are zero-shot text to speech synthesizers, 2023 (cosine of the
    embeddings of a WavLM speaker verifier).
"""

from typing import Any, Protocol

from torch import Tensor

from vqkit.metrics.network import SoundNetwork
from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.types import Float

__all__ = ["SpeakerEmbedder", "SpeakerSimilarity"]


class SpeakerEmbedder(SoundNetwork, Protocol):
    """Embeds the voice of a clip."""

    def __call__(self, waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "channels dim"]:
        """Embed each channel of a clip, given in float64.

        Args:
            waveform: waveform at the embedder's sample rate.

        Returns:
            One embedding per channel.
        """


class SpeakerSimilarity(ReconstructionMetric):
    """Cosine of the speaker embeddings of estimate and reference, mean over channels, then over clips.

    Args:
        embedder: gives the embeddings, for instance :class:`vqkit.metrics.XVectorEmbedder`.
    """

    unit = ""
    higher_is_better = True

    def __init__(self, embedder: SpeakerEmbedder) -> None:
        self.name = f"speaker_similarity_{embedder.name}"  # before __init__, which names the states after it
        super().__init__()
        self.embedder = embedder
        self.description = (
            f"cosine of the speaker embeddings of {embedder.name} of estimate and reference, channel by channel; mean "
            "over channels, then over clips"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The embedder's."""
        return {"embedder": self.embedder.name, **self.embedder.settings}

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        return self.embedder.min_samples

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """Similarity of each channel.

        Args:
            estimate: reconstructed waveform.
            reference: original waveform.

        Returns:
            Cosines.

        Raises:
            ValueError: the embedder gives something else than one finite embedding per channel, or one of zeros.
        """
        return (self._embed(estimate) * self._embed(reference)).sum(-1)

    def _embed(self, clip: Tensor) -> Tensor:
        embeddings = self.embedder(clip).double()
        shape = tuple(embeddings.shape)
        if len(shape) != 2 or shape[0] != clip.shape[0]:
            raise ValueError(f"{self.name}: the embedder must give ({clip.shape[0]}, dim), got {shape}")
        if not embeddings.isfinite().all() or (embeddings == 0).all(-1).any():
            raise ValueError(f"{self.name}: the embedder gave NaN, infinity or only zeros, a cosine needs a direction")
        return embeddings / embeddings.norm(
            dim=-1, keepdim=True
        )  # torch's cosine has a floor that tiny ones fall below
