"""Training of what reconstructs: audio codecs and image tokenizers, one step at a time.

signal ─ model ─ estimate, quantizer loss
   └───────┴── losses, (adversarial, feature matching) ── weighted or balanced ── one step
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from vqkit.losses import Balancer, WeightedLoss, WeightedLosses, adaptive_weight
from vqkit.models.reconstruction import Reconstruction
from vqkit.models.tokenizer import Tokenizer
from vqkit.quantize.usage import CodeUse
from vqkit.ranks import follow_first_rank
from vqkit.training.adversary import Adversary
from vqkit.training.optimisation import Optimisation
from vqkit.training.phase import Phase, Span
from vqkit.training.phased_module import PhasedModule, Split
from vqkit.training.reconstruction.quantizer_start import fit_quantizer
from vqkit.training.reconstruction.validation import Validation, validation_of
from vqkit.types import Quantized

__all__ = ["FitQuantizer", "ReconstructionModule", "ReconstructionPhase"]


@dataclass(frozen=True, kw_only=True)
class ReconstructionPhase(Phase):
    """A phase of a training that reconstructs.

    Args:
        quantized: whether the quantizer takes part; without it the decoder gets the latent itself.
        adversary: whether the adversary plays, if the training has one.
    """

    quantized: bool = True
    adversary: bool = True


@dataclass(frozen=True)
class FitQuantizer:
    """On entry of a phase: turn the latent so that its pieces are balanced, and fit the quantizer to the first training items.

    At the start of a training a quantizer's error is as large as the latent, and hides from the decoder what the signal needs.
    """

    def __call__(self, module: Any) -> None:
        """Fit the quantizer of the module's model."""
        fit_quantizer(module.model, module.trainer.train_dataloader.dataset)


class ReconstructionModule(PhasedModule):
    """Trains a model to reconstruct its input.

    Args:
        model: an audio codec or an image tokenizer; the run saves it to the folder ``codec`` or ``tokenizer``.
        losses: distances of the reconstruction from the signal, with weights.
        optimisation: AdamW's settings and the schedule.
        phases: phases in order; by default one in which all take part.
        quantizer_weight: weight of the quantizer's own losses (beside the weights within the quantizer).
        adversary: discriminator and its weights; None trains without.
        balance: let the weights be shares of the gradient at the estimate (EnCodec's balancer) rather than factors.
        adaptive: multiply the adversarial weight by the ratio of the gradients of the losses and of the adversarial loss at the
            decoder's last layer, as in VQGAN.

    Raises:
        ValueError: an argument out of range, or adaptive without an adversary or with balance.

    References:
        Défossez et al., "EnCodec" (2022), arXiv:2210.13438, section 3.4 (losses, balancer); Esser et al., "Taming transformers" (2021),
        arXiv:2012.09841, section 3.1 (adaptive weight).
    """

    losses: WeightedLosses

    def __init__(
        self,
        model: Tokenizer,
        losses: Sequence[WeightedLoss],
        *,
        optimisation: Optimisation | None = None,
        phases: Sequence[ReconstructionPhase] = (ReconstructionPhase(name="all"),),
        quantizer_weight: float = 1.0,
        adversary: Adversary | None = None,
        balance: bool = False,
        adaptive: bool = False,
    ) -> None:
        super().__init__(phases, optimisation or Optimisation())
        if not quantizer_weight >= 0:
            raise ValueError(f"quantizer_weight must be at least 0, got {quantizer_weight}")
        if adaptive and (balance or adversary is None):
            raise ValueError("adaptive is for a training with an adversary and without balance")
        self.model_name = model.saved_as
        setattr(self, self.model_name, model)
        # no submodule: what is not trained stays out of the checkpoints
        object.__setattr__(self, "losses", WeightedLosses(losses))
        self.adversary = adversary
        self.weights = {**self.losses.weights, **(adversary.weights if adversary else {})}
        self.weights = {name: weight for name, weight in self.weights.items() if weight}
        self.balancer = Balancer(self.weights) if balance else None
        self.adaptive, self.quantizer_weight = adaptive, quantizer_weight
        self.validation: Validation = validation_of(model)

    # --- what is trained

    def models(self) -> Mapping[str, Tokenizer]:
        """The one model, by the name of its folder."""
        return {self.model_name: getattr(self, self.model_name)}

    def networks(self) -> list[nn.Parameter]:
        """Parameters of the model without its quantizer's."""
        return self.model.network_parameters()

    def quantizer_parameters(self) -> list[nn.Parameter]:
        """Parameters of the quantizer."""
        return list(self.model.quantizer.parameters())

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the model, and another for the discriminator."""
        optimizers = super().configure_optimizers()
        if self.adversary is not None:
            judge, how = self.adversary.discriminator.parameters(), self.optimisation
            optimizers.append(
                torch.optim.AdamW(judge, self.adversary.learning_rate, how.betas, weight_decay=how.weight_decay)
            )
        return optimizers

    def splits(self) -> list[Split]:
        """The model and the discriminator. An adaptive weight needs the gradient at the decoder's last layer."""
        judges = [] if self.adversary is None else [Split(self.adversary.discriminator)]
        return [Split(self.model, ("autoencode",), kept=self.adaptive), *judges]

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last layer, for the adaptive adversarial weight.

        Raises:
            ValueError: the model names none.
        """
        layer: Tensor = self.model.last_layer
        return layer

    @property
    def sample_rate(self) -> int:
        """Sample rate of an audio codec, in Hz."""
        rate: int = self.model.sample_rate
        return rate

    @property
    def channels(self) -> int:
        """Channels of the signal."""
        channels: int = self.model.channels
        return channels

    def learns_without_gradient(self, phase: ReconstructionPhase) -> bool:
        """The quantizer, where it takes part; also a phase that teaches the discriminator alone is one."""
        judges = self.adversary.discriminator.parameters() if self.adversary is not None and phase.adversary else ()
        return (phase.quantized and super().learns_without_gradient(phase)) or any(p.requires_grad for p in judges)

    # --- one step

    def start(self, batch: Tensor) -> None:
        """Fit to the first batch what the model fits without gradients."""
        if not self.model.initialized:
            self.model.initialize(batch)
            follow_first_rank(self.model)  # each saw its own share of the batch

    def learn(self, batch: Tensor, step: int, phase: ReconstructionPhase) -> None:
        """One step of the model, and one of the discriminator where it plays."""
        self.losses.train(self.training)  # no submodule: after a validation Lightning would leave it in evaluation mode
        made: Reconstruction = self.model(batch) if phase.quantized else self.model.autoencode(batch)
        losses = self.losses(made.signal, batch)
        judge = self.adversary if phase.adversary else None
        if judge is not None:
            losses |= judge.model_losses(made.signal.float(), batch)
        loss = self.joined(losses, made.signal)
        if made.quantized is not None:
            loss = loss + self.quantizer_weight * made.quantized.loss
        norms = {"gradient_norm": self.descend(loss, self.model.parameters(), step)}
        if judge is not None and judge.learns(step):
            losses["discriminator"] = judge.own_loss(made.signal.float(), batch)
            parameters = judge.discriminator.parameters()
            norms["discriminator_gradient_norm"] = self.descend(losses["discriminator"], parameters, step, optimizer=1)
        rate = torch.tensor(self.rate_share * (phase.optimisation or self.optimisation).learning_rate)
        self._report(made.latent, {**losses, **norms, "learning_rate": rate})
        if made.quantized is not None:
            self._report_quantizer(made.latent, made.quantized)

    def joined(self, losses: dict[str, Tensor], estimate: Tensor) -> Tensor:
        """One loss of all: weighted, or balanced at the estimate."""
        if self.balancer is not None and estimate.requires_grad:  # without gradients there is nothing to balance
            balanced: Tensor = self.balancer(losses, estimate)
            return balanced
        weighted = {name: self.weights[name] * value for name, value in losses.items()}
        if self.adaptive and "adversarial" in weighted:
            others = torch.stack([v for name, v in weighted.items() if name not in ("adversarial", "features")]).sum()
            weighted["adversarial"] = weighted["adversarial"] * adaptive_weight(
                others, losses["adversarial"], self.last_layer
            )
        return torch.stack(list(weighted.values())).sum()

    def _set_learning_rates(self, optimizers: list[Any], span: Span, step: int) -> float:
        share = super()._set_learning_rates(optimizers, span, step)
        if self.adversary is not None:
            for group in optimizers[1].param_groups:
                group["lr"] = self.adversary.learning_rate * share
        return share

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

    # --- validation

    def on_validation_epoch_start(self) -> None:
        """Forget the items of the last validation."""
        self._valid_sums = torch.zeros(len(self.validation.names) + 1, dtype=torch.float64, device=self.device)
        self._valid_use = CodeUse(self.model.quantizer)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Measure a batch of whole items."""
        show = batch_idx == 0 and self.trainer.is_global_zero
        measured = self.validation.measure(self, batch, batch_idx, show, self._valid_use.update)
        self._valid_sums += torch.stack([value.to(self._valid_sums) for value in measured])

    def on_validation_epoch_end(self) -> None:
        """Means over the items of all ranks."""
        *sums, items = self.trainer.strategy.reduce(self._valid_sums, reduce_op="sum")
        for name, value in zip(self.validation.names, sums, strict=True):
            self.log(f"valid/{name}", value / items, prog_bar=name == self.validation.names[-1])
        quantized = self.span(self.trainer.fit_loop.total_batch_idx).phase.quantized
        self.usage_advice = self._valid_use.advice() if quantized else None

    # --- devices of what is no submodule

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.losses.apply_to_tensors(fn)
        return super()._apply(fn, recurse)


def _variance(latent: Tensor) -> Tensor:
    """Variance of the channels over batch and places, averaged."""
    return latent.detach().float().flatten(end_dim=-2).var(dim=0).mean()
