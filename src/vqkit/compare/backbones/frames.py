"""Backbone without a network: quantized MDCT frames, fitted in seconds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit.compare.audio import SoundMeasure
from vqkit.compare.backbone import Backbone as Base
from vqkit.compare.backbone import Note, Training
from vqkit.data import Clip
from vqkit.modality import SOUND
from vqkit.models.audio.frames import FrameCodec
from vqkit.quantize import Quantizer

__all__ = ["Backbone"]


@dataclass(frozen=True)
class Backbone(Base):
    """MDCT frames, fitted offline, then trained on random runs of frames.

    Args:
        sample_rate: sample rate in Hz; clips are resampled and mixed to mono.
        hop_samples: coefficients of a frame.
        whitening: how far the coefficients' deviations are made equal, 0 … 1; see `FrameCodec`.
        rotate: whether the coefficients of a frame are rotated by a DCT; see `FrameCodec`.
        fit_frames: most frames the offline fit uses.
        fit_iterations: k-means iterations of each codebook.
        steps: steps of Adam after the fit, which train all stages together; by default the fit stays as it is.
        batch_size: runs of frames a step.
        run_frames: length of a run.
        learning_rate: learning rate at the start; it falls to zero as a cosine.
    """

    sample_rate: int = 24000
    hop_samples: int = 120
    whitening: float = 0.5
    rotate: bool = True
    fit_frames: int = 32768
    fit_iterations: int = 12
    steps: int = 0
    batch_size: int = 16
    run_frames: int = 64
    learning_rate: float = 1e-3

    modality = SOUND

    @property
    def dim(self) -> int:
        """Dimension of the vectors: one for each MDCT coefficient."""
        return self.hop_samples

    @property
    def training_code(self) -> tuple[Any, ...]:
        """Code of the training, whose changes make cached runs stale."""
        return (FrameCodec, Clip)

    @property
    def measures(self) -> SoundMeasure:
        """Metrics and files of sound at the models' rate."""
        return SoundMeasure(self.sample_rate)

    def train(self, quantizer: Quantizer, items: Sequence[Clip], seed: int, folder: Path, note: Note) -> Training:
        """Fit, train, save."""
        waves = list(self.measures.batches(items))
        start = time.perf_counter()
        note("fit")
        codec = FrameCodec(quantizer, sample_rate=self.sample_rate, whitening=self.whitening, rotate=self.rotate)
        codec.fit((wave[0, 0] for wave in waves), max_frames=self.fit_frames, iterations=self.fit_iterations, seed=seed)
        steps, loss = self._train(codec, [codec.analyze(wave)[0] for wave in waves], seed, note)
        seconds = time.perf_counter() - start
        codec.eval().save_pretrained(folder)
        return Training(seconds, steps, loss)

    def _train(self, codec: FrameCodec, latents: list[Tensor], seed: int, note: Note) -> tuple[list[int], list[float]]:
        """Adam on ‖z − z_q‖² and the quantizer's own losses, over random runs of frames."""
        generator = torch.Generator().manual_seed(seed)
        latents = [z for z in latents if len(z) >= self.run_frames]
        parameters = [p for p in codec.quantizer.parameters() if p.requires_grad]
        if self.steps == 0 or not latents:
            return [], []
        optimizer = torch.optim.Adam(parameters or [torch.zeros(1, requires_grad=True)], lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        lengths = torch.tensor([len(z) - self.run_frames + 1.0 for z in latents])
        codec.quantizer.train()
        steps, losses = [], []
        every = max(1, self.steps // 50)
        for step in range(self.steps):
            chosen = torch.multinomial(lengths, self.batch_size, replacement=True, generator=generator)
            starts = (torch.rand(self.batch_size, generator=generator) * lengths[chosen]).long()
            z = torch.stack(
                [latents[c][s : s + self.run_frames] for c, s in zip(chosen.tolist(), starts.tolist(), strict=True)]
            )
            out = codec.quantizer(z)
            error = (out.z_q - z).square().mean()
            total = out.loss + error
            if total.requires_grad:
                optimizer.zero_grad()
                total.backward()
                optimizer.step()
                schedule.step()
            if step % every == 0 or step == self.steps - 1:
                steps.append(step)
                losses.append(float(error.detach() / z.square().mean()))
                note(f"step {step + 1}/{self.steps}")
        return steps, losses

    def saved(self, folder: Path) -> FrameCodec:
        """The frames and the quantizer that was fitted to them."""
        return FrameCodec.from_pretrained(folder)
