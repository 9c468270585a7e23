"""Kullback–Leibler divergence between what a classifier hears in reference and reconstruction.

Conventions:
    In nats. A divergence is that of its classifier: the metric's name is ``kld_<classifier>``, and values of different
    classifiers do not compare. The one that ships is :class:`vqkit.metrics.SoundClassifier`, small and vqkit's own;
    :class:`vqkit.metrics.ASTClassifier` is an adapter for a large one of the field.

Metrics:
    :class:`KLD`, lower is better; :class:`Classifier` is what it needs.

References:
    Kreuk et al., AudioGen, 2022, section 4 (KL over the labels of an audio classifier); Koutini et al., PaSST, 2022
    (the classifier commonly used).
"""

from typing import Any, Protocol

from torch import Tensor

from vqkit.metrics.network import SoundNetwork
from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.metrics.sound_classifier import SoundClassifier
from vqkit.types import Float

__all__ = ["KLD", "Classifier"]


class Classifier(SoundNetwork, Protocol):
    """Gives class posteriors of a clip."""

    def __call__(self, waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "classes"]:
        """Classify a clip, given in float64.

        Args:
            waveform: waveform at the classifier's sample rate.

        Returns:
            Probabilities, adding up to 1.
        """


class KLD(ReconstructionMetric):
    """Mean over clips of KL(p ‖ q) = Σ p ln(p / q), p the posterior of the reference and q that of the estimate.

    Args:
        classifier: gives the posteriors; None means ``SoundClassifier(sample_rate)``, which ships with vqkit.
        eps: floor of both, so that a class the estimate rules out costs a finite amount.
        sample_rate: sample rate of the waveforms in Hz, for the classifier that ships; another one knows its own.

    Raises:
        ValueError: ``eps`` is not positive, or there is not exactly one of classifier and sample rate.

    Example:
        >>> import torch
        >>> kld, time = KLD(sample_rate=16000), torch.arange(32000) / 16000
        >>> reference = (2 * torch.pi * 440 * time).sin()[None, None]
        >>> kld.update(reference, reference)
        >>> kld.name, kld.compute()
        ('kld_vqkit_sounds', tensor(0.))
    """

    unit = "nats"
    higher_is_better = False

    def __init__(
        self, classifier: Classifier | None = None, eps: float = 1e-6, *, sample_rate: int | None = None
    ) -> None:
        if not eps > 0:
            raise ValueError(f"eps must be positive, got {eps}")
        if (classifier is None) == (sample_rate is None):
            raise ValueError(
                f"KLD needs a classifier, or the sample_rate in Hz for the one that ships, got "
                f"{'neither' if classifier is None else f'both (sample_rate={sample_rate})'}"
            )
        if classifier is None:
            assert sample_rate is not None
            classifier = SoundClassifier(sample_rate)
        self.name = f"kld_{classifier.name}"  # before __init__, which names the states after it
        super().__init__()
        self.classifier, self.eps = classifier, eps
        self.description = (
            f"Σ p ln(max(p, eps) / max(q, eps)) in nats, p and q the posteriors of {classifier.name} on reference and "
            "estimate; mean over clips"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Floor, and the classifier's."""
        return {"eps": self.eps, "classifier": self.classifier.name, **self.classifier.settings}

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        return self.classifier.min_samples

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "1"]:
        """Divergence of a clip.

        Args:
            estimate: reconstructed waveform.
            reference: original waveform.

        Returns:
            One value.

        Raises:
            ValueError: the classifier gives no probabilities.
        """
        p, q = self._posterior(reference), self._posterior(estimate)
        return (p * (p.clamp_min(self.eps) / q.clamp_min(self.eps)).log()).sum(-1, keepdim=True)

    def _posterior(self, clip: Tensor) -> Tensor:
        posterior = self.classifier(clip).double()
        if posterior.ndim != 1 or not (posterior >= 0).all() or abs(posterior.sum().item() - 1) > 1e-3:
            total = posterior.sum().item()
            raise ValueError(
                f"{self.name}: the classifier must give probabilities of shape (classes,) adding up to 1, got shape "
                f"{tuple(posterior.shape)}, sum {total:.4g}"
            )
        return posterior
