"""Training of an audio codec, one step at a time.

    wav ─ codec ─ wav̂, quantizer loss
     └───────┴── waveform L1, multi-scale mel, complex spectra, (adversarial, feature matching) ── weighted or balanced ── one step

References:
    Défossez et al., "EnCodec" (2022), arXiv:2210.13438, section 3.4; IVQ, section 4.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional

from vqkit.data import AudioBatch
from vqkit.losses import Balancer, CompressedSpectra, MultiScaleMel, waveform_l1
from vqkit.models.waveform_codec import CodecOutput, WaveformCodec
from vqkit.training.adversary import Adversary
from vqkit.training.quantizer_start import fit_quantizer
from vqkit.types import Float

__all__ = ["CodecModule"]


_FALL = 0.3  # share of the steps in which a trapezoid falls


class CodecModule(LightningModule):
    """Trains a codec on crops of sound; optimises by hand, since the discriminator has steps of its own.

    The learning rate rises linearly over ``warmup_steps`` and then stays, or falls along a cosine to zero at the last step, or stays and
    falls linearly in the last 30 % of the steps. (A "trapezoid" run can be made longer while it still stays.)

    Args:
        codec: what is trained.
        learning_rate: of encoder and decoder, AdamW.
        quantizer_learning_rate: of the quantizer's own parameters; the same by default.
        betas: of AdamW.
        weight_decay: of encoder and decoder; codebooks never decay.
        warmup_steps: steps until the full learning rate.
        schedule: ``"cosine"``, ``"constant"`` or ``"trapezoid"``.
        gradient_clip: largest norm of the codec's gradient.
        waveform_weight: weight of the waveform L1.
        mel_weight: weight of the multi-scale mel distance.
        spectrum_weight: weight of the distance of compressed complex spectra.
        windows_per_step: STFT windows that the two spectral distances look through at a step, drawn anew each time; None for all, as
            in validation.
        quantizer_weight: weight of the quantizer's own losses (beside the weights within the quantizer).
        balance: let the weights be shares of the gradient at the waveform (EnCodec's balancer) rather than factors.
        adversary: discriminator and its weights; None trains without.
        quantize_after: steps in which the decoder gets the latent itself; then the quantizer is fitted to training crops and joins. 0
            fits it before the first step; None takes it as it is from the first step on. At the start a quantizer's error is as large
            as the latent, and hides from the decoder what the waveform needs.

    Raises:
        ValueError: an argument out of range.
    """

    automatic_optimization: bool

    def __init__(
        self,
        codec: WaveformCodec,
        *,
        learning_rate: float = 3e-4,
        quantizer_learning_rate: float | None = None,
        betas: tuple[float, float] = (0.8, 0.99),
        weight_decay: float = 0.01,
        warmup_steps: int = 100,
        schedule: Literal["cosine", "constant", "trapezoid"] = "cosine",
        gradient_clip: float = 1.0,
        waveform_weight: float = 1.0,
        mel_weight: float = 1.0,
        spectrum_weight: float = 0.0,
        windows_per_step: int | None = None,
        quantizer_weight: float = 1.0,
        balance: bool = False,
        adversary: Adversary | None = None,
        quantize_after: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in {
            "learning_rate": learning_rate,
            "gradient_clip": gradient_clip,
            "mel_weight": mel_weight,
        }.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name, value in {
            "waveform_weight": waveform_weight,
            "spectrum_weight": spectrum_weight,
            "quantizer_weight": quantizer_weight,
            "warmup_steps": warmup_steps,
            "quantize_after": quantize_after or 0,
        }.items():
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if schedule not in ("cosine", "constant", "trapezoid"):
            raise ValueError(f"schedule must be 'cosine', 'constant' or 'trapezoid', got {schedule!r}")
        self.automatic_optimization = False
        self.codec, self.adversary = codec, adversary
        self.mel = MultiScaleMel(codec.sample_rate, windows_per_call=windows_per_step)
        self.spectra = CompressedSpectra(windows_per_call=windows_per_step)
        self.weights = {"waveform": waveform_weight, "mel": mel_weight, "spectrum": spectrum_weight} | (
            adversary.weights if adversary else {}
        )
        self.weights = {name: weight for name, weight in self.weights.items() if weight}
        self.balancer = Balancer(self.weights) if balance else None
        self.quantizer_weight = quantizer_weight
        self.learning_rate, self.betas, self.weight_decay = learning_rate, betas, weight_decay
        self.quantizer_learning_rate = learning_rate if quantizer_learning_rate is None else quantizer_learning_rate
        self.warmup_steps, self.schedule, self.gradient_clip = warmup_steps, schedule, gradient_clip
        self.quantize_after = quantize_after

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self.codec.sample_rate

    @property
    def channels(self) -> int:
        """Of the waveforms."""
        return self.codec.channels

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the codec, and another for the discriminator."""
        quantizer = list(self.codec.quantizer.parameters())
        groups: list[dict[str, Any]] = [
            {"params": [*self.codec.encoder.parameters(), *self.codec.decoder.parameters()]}
        ]
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

    def training_step(self, wav: Float[Tensor, "batch channels samples"], batch_idx: int) -> None:
        """One step of the codec, and one of the discriminator where there is one."""
        optimizers: Any = self.optimizers(use_pl_optimizer=True)
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        share = self.learning_rate_share(batch_idx, int(self.trainer.num_training_batches))
        self._set_learning_rates(optimizers, share)
        if batch_idx == 0 and not self.codec.initialized:
            self.codec.initialize(wav)
        if batch_idx == self.quantize_after:
            loader: Any = self.trainer.train_dataloader
            fit_quantizer(self.codec, loader.dataset)
        output: CodecOutput | None = None
        if batch_idx < (self.quantize_after or 0):
            estimate, latent = self.codec.autoencode(wav)
        else:
            output = self.codec(wav)
            estimate, latent = output.wav, output.latent
        losses = self._distances(estimate, wav)
        plays = self.adversary is not None and batch_idx >= self.adversary.start_step
        if self.adversary is not None and plays:
            losses |= self.adversary.codec_losses(estimate.float(), wav)
        if self.balancer is None:
            loss = torch.stack([self.weights[name] * value for name, value in losses.items()]).sum()
        else:
            loss = self.balancer(losses, estimate)
        if output is not None:
            loss = loss + self.quantizer_weight * output.quantized.loss
        norms = {"gradient_norm": self._step(optimizers[0], loss, self.codec.parameters(), batch_idx)}
        if self.adversary is not None and plays and self.adversary.learns(batch_idx):
            judged = self.adversary.own_loss(estimate.float(), wav)
            norms["discriminator_gradient_norm"] = self._step(
                optimizers[1], judged, self.adversary.discriminator.parameters(), batch_idx
            )
            losses["discriminator"] = judged
        self._report(latent, {**losses, **norms, "learning_rate": torch.tensor(share * self.learning_rate)})
        if output is not None:
            self._report_quantizer(output)

    def on_validation_epoch_start(self) -> None:
        """Forget the clips of the last validation."""
        self._valid_sums = torch.zeros(3, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: AudioBatch, batch_idx: int) -> None:
        """Distances of one whole clip."""
        loader: Any = self.trainer.val_dataloaders
        if batch_idx * self.trainer.world_size + self.trainer.global_rank >= len(loader.dataset):
            return  # the last round repeats clips, so that every rank has one
        output = self.codec(batch.waveforms, batch.lengths)
        missing = max(0, max(self.mel.window_samples) - output.wav.shape[-1])
        estimate, reference = (functional.pad(wav, (0, missing)) for wav in (output.wav.float(), batch.waveforms))
        measured = [waveform_l1(output.wav, batch.waveforms), self.mel(estimate, reference), torch.ones(())]
        self._valid_sums += torch.stack([value.to(self._valid_sums) for value in measured])
        board: Any = getattr(self.logger, "experiment", None)
        if batch_idx == 0 and hasattr(board, "add_audio") and self.trainer.is_global_zero:
            for name, sound in (("original", reference), ("reconstruction", estimate)):
                mono = sound[0].mean(dim=0).clamp(-1, 1)
                board.add_audio(f"valid/{name}", mono, self.trainer.fit_loop.total_batch_idx + 1, self.sample_rate)

    def on_validation_epoch_end(self) -> None:
        """Means over the clips of all ranks."""
        waveform, mel, clips = self.trainer.strategy.reduce(self._valid_sums, reduce_op="sum")
        self.log("valid/waveform", waveform / clips)
        self.log("valid/mel", mel / clips, prog_bar=True)

    def _set_learning_rates(self, optimizers: list[Any], share: float) -> None:
        peaks = [
            [self.learning_rate, self.quantizer_learning_rate],
            [self.adversary.learning_rate if self.adversary else 0.0],
        ]
        for optimizer, rates in zip(optimizers, peaks, strict=False):
            for group, rate in zip(optimizer.param_groups, rates, strict=False):
                group["lr"] = rate * share

    def _distances(self, estimate: Tensor, wav: Tensor) -> dict[str, Tensor]:
        distances: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "waveform": waveform_l1,
            "mel": self.mel,
            "spectrum": self.spectra,
        }
        return {name: distance(estimate, wav) for name, distance in distances.items() if name in self.weights}

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
            self.log(f"train/{name}", value, prog_bar=name == "mel")
        self.log("train/latent_rms", latent.detach().float().square().mean().sqrt())
        # near 0 beside the rms: the codec ignores its input
        self.log("train/latent_spread", _variance(latent).sqrt(), prog_bar=True)

    def _report_quantizer(self, output: CodecOutput) -> None:
        for name, value in output.quantized.losses.items():
            self.log(f"train/quantizer_{name}", value)
        error = (output.latent - output.quantized.z_q).detach().float()
        nmse = error.square().mean() / _variance(output.latent).clamp_min(1e-12)
        self.log("train/quantization_nmse", nmse)


def _variance(latent: Tensor) -> Tensor:
    """Of the channels over batch and time, averaged."""
    return latent.detach().float().flatten(end_dim=-2).var(dim=0).mean()
