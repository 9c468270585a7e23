"""Inception score with a classifier of your choice: are images recognisable, and are they varied?

Conventions:
    A score is that of its classifier: the metric's name is ``is_<classifier>``, shown as "IS-<classifier>". The name Inception
    score belongs to one classifier, Inception with its published weights, which is not here.
    Images are dealt to the splits in turn, so the stream's length need not be known; each rank deals its own. The published
    code cuts the set into consecutive blocks instead: another order of the same images, and the score depends on the order.

Metrics:
    :class:`ClassifierScore`, higher is better; :class:`ImageClassifier` is what it needs.

References:
    Salimans et al., Improved techniques for training GANs, 2016, section 4.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from vqkit.metrics.image_pairs import parts_of_images
from vqkit.metrics.network import Network
from vqkit.metrics.streaming import StreamingMetric
from vqkit.types import Float

__all__ = ["ClassifierScore", "ImageClassifier"]


class ImageClassifier(Network, Protocol):
    """Classifies images; for instance :class:`vqkit.nn.EfficientNetLite0`."""

    def __call__(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits of each image; images are float32 in [0, 1]."""


class ClassifierScore(StreamingMetric):
    """Mean over splits of exp(mean over images of KL(p(y|x) ‖ p(y))), p(y) the mean of the split's posteriors.

    Args:
        classifier: network that returns logits.
        num_classes: number of classes.
        num_splits: number of splits; 10 is usual.

    Raises:
        ValueError: fewer than 2 classes or than 1 split.

    Example:
        >>> from types import SimpleNamespace
        >>> class Corner(SimpleNamespace):
        ...     def __call__(self, images):
        ...         return 1000 * images[:, 0, 0, :4]
        >>> score = ClassifierScore(Corner(name="corner", settings={}), num_classes=4, num_splits=1)
        >>> score.update(torch.eye(4).reshape(4, 1, 1, 4))  # four images, of four classes, without doubt
        >>> score.compute()
        tensor(4.)
    """

    unit = ""
    higher_is_better = True

    def __init__(self, classifier: ImageClassifier, *, num_classes: int = 1000, num_splits: int = 10) -> None:
        if num_classes < 2 or num_splits < 1:
            raise ValueError(f"at least 2 classes and 1 split are needed, got {num_classes} and {num_splits}")
        super().__init__()
        self.name = f"is_{classifier.name}"
        self.classifier, self.num_classes, self.num_splits = classifier, num_classes, num_splits
        self.num_images: int | None = None
        self.description = (
            f"IS-{classifier.name}: exp of the mean KL of an image's posterior from the mean posterior, mean over splits; "
            "images are dealt to the splits in turn"
        )
        for kind, shape in (("posterior", (num_splits, num_classes)), ("negentropy", (num_splits,))):
            self.add_state(f"{self.name}_{kind}", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state(f"{self.name}_count", torch.zeros(num_splits, dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def settings(self) -> dict[str, Any]:
        """Classes, splits, the classifier's, and the number of images (None before ``compute``)."""
        return {
            "classifier": self.classifier.name,
            "num_classes": self.num_classes,
            "num_splits": self.num_splits,
            "num_images": self.num_images,
            **self.classifier.settings,
        }

    def update(
        self,
        estimate: Float[Tensor, "batch channels height width"],
        reference: Float[Tensor, "batch channels height width"] | None = None,
    ) -> None:
        """Add a batch of images.

        Args:
            estimate: reconstructed or generated images; clamped to [0, 1].
            reference: taken so that the metric fits in a collection, and not looked at.

        Raises:
            TypeError: the images are not a tensor of a float dtype.
            ValueError: as of every image metric, or the classifier gives something else than finite ``(batch, classes)``.
        """
        with torch.no_grad():
            log_p = torch.cat([self._log_posterior(part) for part in parts_of_images(self.name, "estimate", estimate)])
        counts, negentropies, posteriors = (f"{self.name}_{kind}" for kind in ("count", "negentropy", "posterior"))
        seen = int(getattr(self, counts).sum())
        split = (torch.arange(len(log_p), device=log_p.device) + seen) % self.num_splits
        p = log_p.exp()
        setattr(self, posteriors, getattr(self, posteriors).index_add(0, split, p))
        setattr(self, negentropies, getattr(self, negentropies).index_add(0, split, (p * log_p).sum(1)))
        setattr(self, counts, getattr(self, counts) + split.bincount(minlength=self.num_splits))

    def compute(self) -> Float[Tensor, ""]:
        """Score of the images so far, of all ranks.

        Returns:
            Scalar, float32, between 1 and ``num_classes``.

        Raises:
            ValueError: there have been fewer images than splits.
        """
        count = getattr(self, f"{self.name}_count")
        if count.amin() == 0:
            raise ValueError(
                f"{self.name} has seen {int(count.sum())} images, at least {self.num_splits} are needed, one a split"
            )
        self.num_images = int(count.sum())
        mean = getattr(self, f"{self.name}_posterior") / count[:, None]
        gain = getattr(self, f"{self.name}_negentropy") / count - torch.special.xlogy(mean, mean).sum(1)
        return gain.exp().mean().float()

    def reset(self) -> None:
        """Forget the stream."""
        super().reset()
        self.num_images = None

    def _log_posterior(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            logits = self.classifier(images.float())
        if logits.shape != (len(images), self.num_classes) or not logits.isfinite().all():
            raise ValueError(
                f"{self.name}: the classifier must give finite ({len(images)}, {self.num_classes}), got "
                f"{tuple(logits.shape)}" + ("" if logits.isfinite().all() else " with NaN or infinity")
            )
        return logits.to(getattr(self, f"{self.name}_negentropy")).log_softmax(1)
