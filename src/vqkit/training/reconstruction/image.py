"""`ImageModule`: the usual training of an image tokenizer in flat arguments, a constructor of `ReconstructionModule`.

References:
    Esser et al., "Taming transformers" (2021), arXiv:2012.09841, section 3.1 (L1, perceptual, adaptive adversarial);
    van den Oord et al. (2017), arXiv:1711.00937 (L2).
"""

from typing import Literal

from torch import nn

from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.training.adversary import Adversary
from vqkit.training.optimisation import Optimisation
from vqkit.training.reconstruction.codec import usual_phases, weighted_losses
from vqkit.training.reconstruction.module import ReconstructionModule

__all__ = ["ImageModule"]


class ImageModule(ReconstructionModule):
    """Trains a tokenizer on images of one size.

    Args:
        tokenizer: what is trained.
        learning_rate: learning rate of encoder and decoder, as the following in `Optimisation`.
        quantizer_learning_rate: learning rate of the quantizer's own parameters; the same by default.
        betas: betas of AdamW.
        weight_decay: weight decay of encoder and decoder; codebooks never decay.
        warmup_steps: steps until the full learning rate.
        schedule: ``"cosine"``, ``"constant"`` or ``"trapezoid"``.
        gradient_clip: largest norm of the tokenizer's gradient.
        l1_weight: weight of the mean absolute difference of pixels in [0, 1].
        l2_weight: weight of their mean squared difference.
        perceptual_weight: weight of ``perceptual``.
        perceptual: a distance of images that gives one number an image, such as `vqkit.nn.PerceptualDistance`; in YAML
            ``vqkit.training.perceptual.efficientnet_distance``.
        quantizer_weight: weight of the quantizer's own losses (beside the weights within the quantizer).
        balance: let the weights be shares of the gradient at the images (EnCodec's balancer) rather than factors.
        adversary: discriminator and its weights; None trains without.
        adaptive: multiply the adversarial weight by the ratio of the gradients of the distances and of the adversarial loss at the
            decoder's last layer, as in VQGAN.
        quantize_after: steps of a first phase in which the decoder gets the latent itself; then the quantizer is fitted to training
            crops and joins. 0 fits it before the first step; None takes it as it is from the first step on.

    Raises:
        ValueError: an argument out of range, or perceptual and its weight do not go together.
    """

    tokenizer: ImageTokenizer

    def __init__(
        self,
        tokenizer: ImageTokenizer,
        *,
        learning_rate: float = 3e-4,
        quantizer_learning_rate: float | None = None,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        warmup_steps: int = 100,
        schedule: Literal["cosine", "constant", "trapezoid"] = "cosine",
        gradient_clip: float = 1.0,
        l1_weight: float = 1.0,
        l2_weight: float = 0.0,
        perceptual_weight: float = 0.0,
        perceptual: nn.Module | None = None,
        quantizer_weight: float = 1.0,
        balance: bool = False,
        adversary: Adversary | None = None,
        adaptive: bool = False,
        quantize_after: int | None = None,
    ) -> None:
        if (perceptual is not None) != bool(perceptual_weight):
            given = "none" if perceptual is None else type(perceptual).__name__
            raise ValueError(
                f"perceptual and a positive perceptual_weight go together, got {given} and {perceptual_weight}"
            )
        losses = weighted_losses(
            ("l1", nn.L1Loss(), l1_weight),
            ("l2", nn.MSELoss(), l2_weight),
            ("perceptual", (perceptual or nn.Module()).eval(), perceptual_weight),
        )
        optimisation = Optimisation(
            learning_rate=learning_rate,
            quantizer_learning_rate=quantizer_learning_rate,
            betas=betas,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            schedule=schedule,
            gradient_clip=gradient_clip,
        )
        super().__init__(
            tokenizer,
            losses,
            optimisation=optimisation,
            phases=usual_phases(quantize_after, adversary),
            quantizer_weight=quantizer_weight,
            adversary=adversary,
            balance=balance,
            adaptive=adaptive,
        )
