"""What is measured on whole items of the validation split while a model is trained: of sound, of images."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.data import AudioBatch
from vqkit.losses import MultiScaleMel, waveform_l1
from vqkit.modality import IMAGE, VIDEO
from vqkit.models.tokenizer import Tokenizer
from vqkit.types import Float

__all__ = ["AudioValidation", "ImageValidation", "Validation", "VideoValidation", "validation_of"]

Count = Callable[[Tensor], Any]
"""Takes codes (…, num_codes), such as `vqkit.quantize.usage.CodeUse.update`."""


class Validation(Protocol):
    """Measurements of a batch.

    Attributes:
        names: names of what is measured; the last one is shown beside the progress.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the measurements."""

    def measure(self, module: Any, batch: Any, batch_idx: int, show: bool, count: Count) -> Sequence[Tensor]:
        """Sums over the batch in the order of the names, then the number of items.

        Args:
            module: what is trained.
            batch: batch of the validation split.
            batch_idx: its number.
            show: log something to hear or see.
            count: takes the codes of what counts.
        """


class AudioValidation:
    """Waveform L1 and multi-scale mel distance of one whole clip.

    Args:
        sample_rate: sample rate in Hz.
    """

    names = ("waveform", "mel")

    def __init__(self, sample_rate: int) -> None:
        self.mel = MultiScaleMel(sample_rate).eval()

    def measure(self, module: Any, batch: AudioBatch, batch_idx: int, show: bool, count: Count) -> Sequence[Tensor]:
        """Distances of the clip."""
        trainer = module.trainer
        output = module.model(batch.waveforms, batch.lengths)  # on every rank: FSDP gathers the weights inside
        if batch_idx * trainer.world_size + trainer.global_rank >= len(trainer.val_dataloaders.dataset):
            return (torch.zeros(()),) * 3  # the last round repeats clips, so that every rank has one
        count(output.quantized.codes)
        made = output.signal
        mel = self.mel.to(made.device)
        missing = max(0, max(mel.window_samples) - made.shape[-1])
        estimate, reference = (functional.pad(wav, (0, missing)) for wav in (made.float(), batch.waveforms))
        board: Any = getattr(module.logger, "experiment", None)
        if show and hasattr(board, "add_audio"):
            for name, sound in (("original", reference), ("reconstruction", estimate)):
                mono = sound[0].mean(dim=0).clamp(-1, 1)
                board.add_audio(f"valid/{name}", mono, module.trainer.fit_loop.total_batch_idx + 1, module.sample_rate)
        return waveform_l1(made, batch.waveforms), mel(estimate, reference), torch.ones(())


class ImageValidation:
    """Mean absolute error and PSNR of a batch of whole images, clamped."""

    names = ("mae", "psnr")

    def measure(
        self,
        module: Any,
        batch: tuple[Float[Tensor, "batch channels height width"], Any],
        batch_idx: int,
        show: bool,
        count: Count,
    ) -> Sequence[Tensor]:
        """Sums over those images of the batch that count."""
        images, counted = batch
        output = module.model(images)
        count(output.quantized.codes[counted])
        estimate = output.signal.float().clamp(0, 1)
        errors = (estimate - images)[counted].flatten(1)
        psnr = -10 * errors.square().mean(dim=1).clamp_min(1e-10).log10()
        board: Any = getattr(module.logger, "experiment", None)
        if show and hasattr(board, "add_images"):
            pairs = torch.stack([images[:8], estimate[:8]], dim=1).flatten(end_dim=1)
            board.add_images("valid/original_and_reconstruction", pairs, module.trainer.fit_loop.total_batch_idx + 1)
        return errors.abs().mean(dim=1).sum(), psnr.sum(), torch.as_tensor(len(errors))


class VideoValidation:
    """Mean absolute error and PSNR of a batch of whole clips, clamped."""

    names = ("mae", "psnr")

    def measure(
        self,
        module: Any,
        batch: Float[Tensor, "batch channels frames height width"],
        batch_idx: int,
        show: bool,
        count: Count,
    ) -> Sequence[Tensor]:
        """Sums over the clips of the batch."""
        trainer = module.trainer
        output = module.model(batch)  # on every rank: FSDP gathers the weights inside
        if batch_idx * trainer.world_size + trainer.global_rank >= len(trainer.val_dataloaders.dataset):
            return (torch.zeros(()),) * 3  # the last round repeats clips, so that every rank has one
        count(output.quantized.codes)
        errors = (output.signal.float().clamp(0, 1) - batch).flatten(1)
        psnr = -10 * errors.square().mean(dim=1).clamp_min(1e-10).log10()
        return errors.abs().mean(dim=1).sum(), psnr.sum(), torch.as_tensor(len(errors))


def validation_of(model: Tokenizer) -> Validation:
    """The measurements for what a model reconstructs."""
    if model.modality is IMAGE:
        return ImageValidation()
    if model.modality is VIDEO:
        return VideoValidation()
    return AudioValidation(model.sample_rate)  # type: ignore[arg-type]
