"""`CodecModule`: the usual training of an audio codec in flat arguments, a constructor of `ReconstructionModule`.

References:
    Défossez et al., "EnCodec" (2022), arXiv:2210.13438, section 3.4 (losses).
"""

from collections.abc import Iterable
from typing import Literal

from torch import nn

from vqkit.losses import BandLevels, CompressedSpectra, LoudnessDisturbance, MultiScaleMel, WeightedLoss
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.training.adversary import Adversary
from vqkit.training.optimisation import Optimisation
from vqkit.training.reconstruction.module import FitQuantizer, ReconstructionModule, ReconstructionPhase

__all__ = ["CodecModule", "usual_phases", "weighted_losses"]


class CodecModule(ReconstructionModule):
    """Trains a codec on crops of sound.

    Args:
        codec: what is trained.
        learning_rate: learning rate of encoder and decoder, as the following in `Optimisation`.
        quantizer_learning_rate: learning rate of the quantizer's own parameters; the same by default.
        betas: betas of AdamW.
        weight_decay: weight decay of encoder and decoder; codebooks never decay.
        warmup_steps: steps until the full learning rate.
        schedule: ``"cosine"``, ``"constant"`` or ``"trapezoid"``.
        gradient_clip: largest norm of the codec's gradient.
        waveform_weight: weight of the waveform L1.
        mel_weight: weight of the multi-scale mel distance.
        spectrum_weight: weight of the distance of compressed complex spectra.
        level_weight: weight of the difference of levels in the ear's bands, which holds pure tones and what has no phase to code.
        loudness_weight: weight of the disturbance that listeners of speech hear, PESQ's with a gradient.
        windows_per_step: STFT windows that each spectral distance looks through at a step, drawn anew each time; None for all, as
            in validation.
        quantizer_weight: weight of the quantizer's own losses (beside the weights within the quantizer).
        balance: let the weights be shares of the gradient at the waveform (EnCodec's balancer) rather than factors.
        adversary: discriminator and its weights; None trains without.
        quantize_after: steps of a first phase in which the decoder gets the latent itself; then the quantizer is fitted to training
            crops and joins. 0 fits it before the first step; None takes it as it is from the first step on.

    Raises:
        ValueError: an argument out of range.
    """

    codec: WaveformCodec

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
        level_weight: float = 0.0,
        loudness_weight: float = 0.0,
        windows_per_step: int | None = None,
        quantizer_weight: float = 1.0,
        balance: bool = False,
        adversary: Adversary | None = None,
        quantize_after: int | None = None,
    ) -> None:
        losses = weighted_losses(
            ("waveform", nn.L1Loss(), waveform_weight),
            ("mel", MultiScaleMel(codec.sample_rate, windows_per_call=windows_per_step), mel_weight),
            ("spectrum", CompressedSpectra(windows_per_call=windows_per_step), spectrum_weight),
            ("level", BandLevels(codec.sample_rate, windows_per_call=windows_per_step), level_weight),
            ("loudness", LoudnessDisturbance(codec.sample_rate), loudness_weight),
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
            codec,
            losses,
            optimisation=optimisation,
            phases=usual_phases(quantize_after, adversary),
            quantizer_weight=quantizer_weight,
            adversary=adversary,
            balance=balance,
        )


def weighted_losses(*losses: tuple[str, nn.Module, float]) -> list[WeightedLoss]:
    """Losses of flat arguments; those of weight 0 are left out.

    Raises:
        ValueError: a negative weight, or all are 0.
    """
    for name, _, weight in losses:
        if not weight >= 0:
            raise ValueError(f"{name}_weight must be at least 0, got {weight}")
    found = [WeightedLoss(name, distance, weight) for name, distance, weight in losses if weight]
    if not found:
        raise ValueError(f"one of {', '.join(f'{name}_weight' for name, _, _ in losses)} must be positive")
    return found


def usual_phases(quantize_after: int | None, adversary: Adversary | None) -> list[ReconstructionPhase]:
    """Phases of a training whose quantizer joins after so many steps, and whose adversary has a first step of its own.

    Raises:
        ValueError: a negative number of steps.
    """
    if quantize_after is not None and quantize_after < 0:
        raise ValueError(f"quantize_after must be at least 0, got {quantize_after}")
    joins, plays = quantize_after or 0, adversary.start_step if adversary else 0
    bounds = sorted({0, joins, plays})
    ends: Iterable[int | None] = [*bounds[1:], None]
    return [
        ReconstructionPhase(
            name=f"{'with' if first >= joins else 'without'} quantizer"
            + (f", {'with' if first >= plays else 'without'} adversary" if adversary else ""),
            steps=None if end is None else end - first,
            quantized=first >= joins,
            adversary=first >= plays,
            on_entry=(FitQuantizer(),) if first == quantize_after else (),
        )
        for first, end in zip(bounds, ends, strict=True)
    ]
