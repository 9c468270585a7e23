"""Training of an image tokenizer, one step at a time.

    images ─ tokenizer ─ images, quantizer loss
       └─────────┴── L1, L2, perceptual distance, (adversarial, feature matching) ── weighted ── one step

References:
    Esser et al., "Taming transformers" (2021), arXiv:2012.09841, section 3.1 (L1, perceptual, adaptive adversarial);
    van den Oord et al. (2017), arXiv:1711.00937 (L2).
"""

from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.models.image_tokenizer import ImageTokenizer
from vqkit.training.adversary import Adversary
from vqkit.training.autoencoder_module import AutoencoderModule, Reconstruction
from vqkit.types import Float

__all__ = ["ImageModule"]


class ImageModule(AutoencoderModule):
    """Trains a tokenizer on images of one size.

    Args:
        tokenizer: what is trained.
        learning_rate: of encoder and decoder, AdamW.
        quantizer_learning_rate: of the quantizer's own parameters; the same by default.
        betas: of AdamW.
        weight_decay: of encoder and decoder; codebooks never decay.
        warmup_steps: steps until the full learning rate.
        schedule: ``"cosine"``, ``"constant"`` or ``"trapezoid"``, as in `CodecModule`.
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
        quantize_after: as in `CodecModule`.

    Raises:
        ValueError: an argument out of range, or perceptual and its weight do not go together.
    """

    model_name = "tokenizer"
    perceptual: nn.Module | None

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
        super().__init__(
            {"l1": l1_weight, "l2": l2_weight, "perceptual": perceptual_weight},
            learning_rate=learning_rate,
            quantizer_learning_rate=quantizer_learning_rate,
            betas=betas,
            weight_decay=weight_decay,
            warmup_steps=warmup_steps,
            schedule=schedule,
            gradient_clip=gradient_clip,
            quantizer_weight=quantizer_weight,
            balance=balance,
            adversary=adversary,
            adaptive=adaptive,
            quantize_after=quantize_after,
        )
        self.tokenizer = tokenizer
        # no submodule: its weights are not trained, and would fill every checkpoint
        object.__setattr__(self, "perceptual", perceptual and perceptual.requires_grad_(False).eval())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Take the perceptual distance along to another device."""
        if self.perceptual is not None:
            self.perceptual._apply(fn, recurse)
        return super()._apply(fn, recurse)

    @property
    def channels(self) -> int:
        """Of the images."""
        return self.tokenizer.channels

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last layer."""
        return self.tokenizer.backbone.last_layer

    def networks(self) -> list[nn.Parameter]:
        """Parameters of the backbone."""
        return list(self.tokenizer.backbone.parameters())

    def reconstruct(self, target: Tensor, quantized: bool) -> Reconstruction:
        """The tokenizer's images."""
        if not quantized:
            return (*self.tokenizer.autoencode(target), None)
        output = self.tokenizer(target)
        return output.images, output.latent, output.quantized

    def distances(self, estimate: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Those that have a weight."""
        found = {}
        if "l1" in self.weights:
            found["l1"] = functional.l1_loss(estimate.float(), target)
        if "l2" in self.weights:
            found["l2"] = functional.mse_loss(estimate.float(), target)
        if self.perceptual is not None:
            found["perceptual"] = self.perceptual(estimate.float(), target).mean()
        return found

    def on_validation_epoch_start(self) -> None:
        """Forget the images of the last validation."""
        self._valid_sums = torch.zeros(3, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: tuple[Float[Tensor, "batch channels height width"], Any], batch_idx: int) -> None:
        """Distances of a batch of whole images."""
        images, counted = batch
        estimate = self.tokenizer(images).images.float().clamp(0, 1)
        errors = (estimate - images)[counted].flatten(1)
        psnr = -10 * errors.square().mean(dim=1).clamp_min(1e-10).log10()
        measured = [errors.abs().mean(dim=1).sum(), psnr.sum(), torch.as_tensor(len(errors))]
        self._valid_sums += torch.stack([value.to(self._valid_sums) for value in measured])
        board: Any = getattr(self.logger, "experiment", None)
        if batch_idx == 0 and hasattr(board, "add_images") and self.trainer.is_global_zero:
            pairs = torch.stack([images[:8], estimate[:8]], dim=1).flatten(end_dim=1)
            board.add_images("valid/original_and_reconstruction", pairs, self.trainer.fit_loop.total_batch_idx + 1)

    def on_validation_epoch_end(self) -> None:
        """Means over the images of all ranks."""
        absolute, psnr, images = self.trainer.strategy.reduce(self._valid_sums, reduce_op="sum")
        self.log("valid/mae", absolute / images)
        self.log("valid/psnr", psnr / images, prog_bar=True)
