"""A discriminator, its optimiser settings and the weights of what it asks of the model."""

import math

from torch import Tensor, nn

from vqkit.losses import feature_matching, hinge_discriminator, hinge_generator
from vqkit.types import Float

__all__ = ["Adversary"]


class Adversary(nn.Module):
    """The adversarial part of a training; without it a model is trained on distances alone.

    Args:
        discriminator: judges originals and reconstructions; gives a `vqkit.nn.Judgement`, as `STFTDiscriminator` (sound) and
            `PatchDiscriminator` (images).
        adversarial_weight: weight of the generator's hinge loss.
        feature_weight: weight of feature matching; 0 leaves it out.
        learning_rate: learning rate of the discriminator.
        start_step: first step at which it plays.
        update_share: share of the steps at which it learns (EnCodec: 2/3 at 24 kHz, 1/2 at 48 kHz).

    Raises:
        ValueError: an argument out of range.

    References:
        Défossez et al., "EnCodec" (2022), arXiv:2210.13438, section 3.4.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        *,
        adversarial_weight: float = 3.0,
        feature_weight: float = 3.0,
        learning_rate: float = 3e-4,
        start_step: int = 0,
        update_share: float = 2 / 3,
    ) -> None:
        super().__init__()
        if not (adversarial_weight > 0 and learning_rate > 0 and feature_weight >= 0):
            raise ValueError(
                "adversarial_weight and learning_rate must be positive and feature_weight at least 0, got "
                f"{adversarial_weight}, {learning_rate} and {feature_weight}"
            )
        if start_step < 0 or not 0 < update_share <= 1:
            raise ValueError(
                f"start_step must be at least 0 and update_share in (0, 1], got {start_step} and {update_share}"
            )
        self.discriminator = discriminator
        self.weights = {"adversarial": adversarial_weight, "features": feature_weight}
        self.learning_rate, self.start_step, self.update_share = learning_rate, start_step, update_share

    def learns(self, step: int) -> bool:
        """Whether the discriminator learns at this step; evenly spread, the same on every rank."""
        return math.floor((step + 1) * self.update_share) > math.floor(step * self.update_share)

    def own_loss(
        self, estimate: Float[Tensor, "batch channels ..."], reference: Float[Tensor, "batch channels ..."]
    ) -> Tensor:
        """What the discriminator minimises; no gradient reaches the model."""
        real, fake = self.discriminator(reference), self.discriminator(estimate.detach())
        return hinge_discriminator(real.scores, fake.scores)

    def model_losses(
        self, estimate: Float[Tensor, "batch channels ..."], reference: Float[Tensor, "batch channels ..."]
    ) -> dict[str, Tensor]:
        """What the model minimises, unweighted; no gradient reaches the discriminator."""
        self.discriminator.requires_grad_(False)
        try:
            real, fake = self.discriminator(reference), self.discriminator(estimate)
        finally:
            self.discriminator.requires_grad_(True)
        losses = {"adversarial": hinge_generator(fake.scores)}
        if self.weights["features"]:
            losses["features"] = feature_matching(real.features, fake.features)
        return losses
