"""Training of an audio codec, one step at a time.

    wav ─ codec ─ wav̂, quantizer loss
     └───────┴── waveform L1, multi-scale mel, complex spectra, (adversarial, feature matching) ── weighted or balanced ── one step

References:
    Défossez et al., "EnCodec" (2022), arXiv:2210.13438, section 3.4; IVQ, section 4.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.data import AudioBatch
from vqkit.losses import CompressedSpectra, MultiScaleMel, waveform_l1
from vqkit.models.waveform_codec import WaveformCodec
from vqkit.training.adversary import Adversary
from vqkit.training.autoencoder_module import AutoencoderModule, Reconstruction

__all__ = ["CodecModule"]


class CodecModule(AutoencoderModule):
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

    model_name = "codec"

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
        if not mel_weight > 0:
            raise ValueError(f"mel_weight must be positive, got {mel_weight}")
        super().__init__(
            {"waveform": waveform_weight, "mel": mel_weight, "spectrum": spectrum_weight},
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
            adaptive=False,
            quantize_after=quantize_after,
        )
        self.codec = codec
        self.mel = MultiScaleMel(codec.sample_rate, windows_per_call=windows_per_step)
        self.spectra = CompressedSpectra(windows_per_call=windows_per_step)

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self.codec.sample_rate

    @property
    def channels(self) -> int:
        """Of the waveforms."""
        return self.codec.channels

    def networks(self) -> list[nn.Parameter]:
        """Parameters of encoder and decoder."""
        return [*self.codec.encoder.parameters(), *self.codec.decoder.parameters()]

    def reconstruct(self, target: Tensor, quantized: bool) -> Reconstruction:
        """The codec's waveforms."""
        if not quantized:
            return (*self.codec.autoencode(target), None)
        output = self.codec(target)
        return output.wav, output.latent, output.quantized

    def distances(self, estimate: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Those that have a weight."""
        known: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "waveform": waveform_l1,
            "mel": self.mel,
            "spectrum": self.spectra,
        }
        return {name: distance(estimate, target) for name, distance in known.items() if name in self.weights}

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
