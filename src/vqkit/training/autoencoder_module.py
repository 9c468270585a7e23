"""Training of a model with a quantizer in its middle, one step at a time.

target ─ model ─ estimate, quantizer loss
   └───────┴── distances, (adversarial, feature matching) ── weighted or balanced ── one step
"""

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from vqkit.losses import Balancer, adaptive_weight
from vqkit.models.hub import HubModel
from vqkit.ranks import follow_first_rank
from vqkit.training.adversary import Adversary
from vqkit.training.quantizer_start import fit_quantizer
from vqkit.types import Quantized

__all__ = ["AutoencoderModule", "Reconstruction"]

_FALL = 0.3  # share of the steps in which a trapezoid falls

Reconstruction = tuple[Tensor, Tensor, Quantized | None]
"""What a model makes of a batch: estimate, latent, and what the quantizer gave, if it took part."""


class AutoencoderModule(LightningModule):
    """What the trainings of codecs and tokenizers share; optimises by hand, since the discriminator has steps of its own.

    A subclass sets `model_name`, keeps its model under that name, and implements the abstract members. The arguments are described there.

    Attributes:
        model_name: of the attribute that holds the model, and of the folder that it is saved to.
    """

    model_name: ClassVar[str]
    automatic_optimization: bool

    def __init__(
        self,
        weights: dict[str, float],
        *,
        learning_rate: float,
        quantizer_learning_rate: float | None,
        betas: tuple[float, float],
        weight_decay: float,
        warmup_steps: int,
        schedule: Literal["cosine", "constant", "trapezoid"],
        gradient_clip: float,
        quantizer_weight: float,
        balance: bool,
        adversary: Adversary | None,
        adaptive: bool,
        quantize_after: int | None,
    ) -> None:
        super().__init__()
        for name, value in {"learning_rate": learning_rate, "gradient_clip": gradient_clip}.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        factors = {f"{name}_weight": weight for name, weight in weights.items()}
        for name, value in {
            **factors,
            "quantizer_weight": quantizer_weight,
            "warmup_steps": warmup_steps,
            "quantize_after": quantize_after or 0,
        }.items():
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if not any(weights.values()):
            raise ValueError(f"one of {', '.join(factors)} must be positive")
        if schedule not in ("cosine", "constant", "trapezoid"):
            raise ValueError(f"schedule must be 'cosine', 'constant' or 'trapezoid', got {schedule!r}")
        if adaptive and (balance or adversary is None):
            raise ValueError("adaptive is for a training with an adversary and without balance")
        self.automatic_optimization = False
        self.adversary = adversary
        self.weights = {**weights, **(adversary.weights if adversary else {})}
        self.weights = {name: weight for name, weight in self.weights.items() if weight}
        self.balancer = Balancer(self.weights) if balance else None
        self.adaptive = adaptive
        self.quantizer_weight = quantizer_weight
        self.learning_rate, self.betas, self.weight_decay = learning_rate, betas, weight_decay
        self.quantizer_learning_rate = learning_rate if quantizer_learning_rate is None else quantizer_learning_rate
        self.warmup_steps, self.schedule, self.gradient_clip = warmup_steps, schedule, gradient_clip
        self.quantize_after = quantize_after

    # --- what a subclass defines

    @abstractmethod
    def networks(self) -> list[nn.Parameter]:
        """Parameters of the model without its quantizer's."""

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last layer, for the adaptive adversarial weight."""
        raise ValueError(f"{type(self).__name__} has no adaptive adversarial weight")

    @abstractmethod
    def reconstruct(self, target: Tensor, quantized: bool) -> Reconstruction:
        """The model's estimate of the target, with or without the quantizer."""

    @abstractmethod
    def distances(self, estimate: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Unweighted distances, by the names of the weights."""

    # --- what they share

    @property
    def model(self) -> Any:
        """What is trained."""
        model: HubModel = getattr(self, self.model_name)
        return model

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the model, and another for the discriminator."""
        quantizer = list(self.model.quantizer.parameters())
        groups: list[dict[str, Any]] = [{"params": self.networks()}]
        if quantizer:
            groups.append({"params": quantizer, "weight_decay": 0.0})
        optimizers = [
            torch.optim.AdamW(groups, lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay)
        ]
        if self.adversary is not None:
            judge = self.adversary.discriminator.parameters()
            optimizers.append(
                torch.optim.AdamW(judge, self.adversary.learning_rate, self.betas, weight_decay=self.weight_decay)
            )
        return list(optimizers)

    def learning_rate_share(self, step: int, steps: int) -> float:
        """Share of the full learning rate at a step.

        Args:
            step: from 0.
            steps: of the whole run.

        Returns:
            In (0, 1].
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "trapezoid":
            return min(1.0, (steps - step) / (_FALL * steps))
        done = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return 0.5 + 0.5 * math.cos(math.pi * min(done, 1.0))

    def training_step(self, target: Tensor, batch_idx: int) -> None:
        """One step of the model, and one of the discriminator where there is one."""
        optimizers: Any = self.optimizers(use_pl_optimizer=True)
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        share = self.learning_rate_share(batch_idx, int(self.trainer.num_training_batches))
        self._set_learning_rates(optimizers, share)
        if batch_idx == 0 and not self.model.initialized:
            self.model.initialize(target)
            follow_first_rank(self.model)  # each saw its own share of the batch
        if batch_idx == self.quantize_after:
            loader: Any = self.trainer.train_dataloader
            fit_quantizer(self.model, loader.dataset)
        estimate, latent, quantized = self.reconstruct(target, batch_idx >= (self.quantize_after or 0))
        losses = self.distances(estimate, target)
        plays = self.adversary is not None and batch_idx >= self.adversary.start_step
        if self.adversary is not None and plays:
            losses |= self.adversary.model_losses(estimate.float(), target)
        loss = self._joined(losses, estimate)
        if quantized is not None:
            loss = loss + self.quantizer_weight * quantized.loss
        norms = {"gradient_norm": self._step(optimizers[0], loss, self.model.parameters(), batch_idx)}
        if self.adversary is not None and plays and self.adversary.learns(batch_idx):
            judged = self.adversary.own_loss(estimate.float(), target)
            norms["discriminator_gradient_norm"] = self._step(
                optimizers[1], judged, self.adversary.discriminator.parameters(), batch_idx
            )
            losses["discriminator"] = judged
        self._report(latent, {**losses, **norms, "learning_rate": torch.tensor(share * self.learning_rate)})
        if quantized is not None:
            self._report_quantizer(latent, quantized)

    def _joined(self, losses: dict[str, Tensor], estimate: Tensor) -> Tensor:
        if self.balancer is not None:
            balanced: Tensor = self.balancer(losses, estimate)
            return balanced
        weighted = {name: self.weights[name] * value for name, value in losses.items()}
        if self.adaptive and "adversarial" in weighted:
            others = torch.stack([v for name, v in weighted.items() if name not in ("adversarial", "features")]).sum()
            weighted["adversarial"] = weighted["adversarial"] * adaptive_weight(
                others, losses["adversarial"], self.last_layer
            )
        return torch.stack(list(weighted.values())).sum()

    def _set_learning_rates(self, optimizers: list[Any], share: float) -> None:
        peaks = [
            [self.learning_rate, self.quantizer_learning_rate],
            [self.adversary.learning_rate if self.adversary else 0.0],
        ]
        for optimizer, rates in zip(optimizers, peaks, strict=False):
            for group, rate in zip(optimizer.param_groups, rates, strict=False):
                group["lr"] = rate * share

    def _step(self, optimizer: Any, loss: Tensor, parameters: Iterable[nn.Parameter], step: int) -> Tensor:
        parameters = list(parameters)
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = nn.utils.clip_grad_norm_(parameters, self.gradient_clip)
        if not torch.isfinite(norm):
            raise RuntimeError(f"the gradient of step {step} is not finite: lower learning_rate, or raise warmup_steps")
        optimizer.step()
        return norm

    def _report(self, latent: Tensor, measured: dict[str, Tensor]) -> None:
        for name, value in measured.items():
            self.log(f"train/{name}", value, prog_bar=name in self.weights)
        self.log("train/latent_rms", latent.detach().float().square().mean().sqrt())
        # near 0 beside the rms: the model ignores its input
        self.log("train/latent_spread", _variance(latent).sqrt(), prog_bar=True)

    def _report_quantizer(self, latent: Tensor, quantized: Quantized) -> None:
        for name, value in quantized.losses.items():
            self.log(f"train/quantizer_{name}", value)
        error = (latent - quantized.z_q).detach().float()
        nmse = error.square().mean() / _variance(latent).clamp_min(1e-12)
        self.log("train/quantization_nmse", nmse)


def _variance(latent: Tensor) -> Tensor:
    """Of the channels over batch and places, averaged."""
    return latent.detach().float().flatten(end_dim=-2).var(dim=0).mean()
