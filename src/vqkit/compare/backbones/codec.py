"""The neural codec: EnCodec's encoder and decoder, trained around each quantizer from the same start on the same crops."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vqkit.cache import key_of, read_json, write_json
from vqkit.compare.audio import SoundMeasure
from vqkit.compare.backbone import Backbone as Base
from vqkit.compare.backbone import Note, Training, training_digest
from vqkit.compare.watch import trained
from vqkit.data import Clip, fingerprint
from vqkit.modality import SOUND
from vqkit.models import AudioCodec
from vqkit.quantize import VQ, Quantizer
from vqkit.training.data.audio import AudioDataModule
from vqkit.training.reconstruction.codec import CodecModule
from vqkit.training.runs.run import train

__all__ = ["Backbone"]


@dataclass(frozen=True)
class Backbone(Base):
    """`AudioCodec`, trained on random crops; the weights of encoder and decoder start alike for all quantizers of a seed.

    Args:
        sample_rate: sample rate in Hz; clips are resampled and mixed to mono.
        width: width of the latent, the ``dim`` of every quantizer.
        num_filters: channels of the first convolution.
        strides: strides of the encoder; their product is the hop in samples.
        num_lstm_layers: LSTM layers on either side.
        pretrain_steps: steps of encoder and decoder without quantizer, made once for each seed and shared by all rows; every quantizer is
            then fitted to their latents before its own training. With 0 all starts from scratch.
        steps: training steps with the quantizer.
        batch_size: crops a step.
        crop_seconds: length of a crop.
        learning_rate: learning rate of encoder and decoder, and of the quantizer.
        warmup_steps: steps until the full learning rate.
        waveform_weight: weight of the waveform L1.
        mel_weight: weight of the multi-scale mel distance.
        quantizer_weight: weight of the quantizer's losses.
        save_every: steps between checkpoints, from which an interrupted run goes on.
    """

    sample_rate: int = 16000
    width: int = 120
    num_filters: int = 16
    strides: tuple[int, ...] = (2, 4, 5, 8)
    num_lstm_layers: int = 2
    pretrain_steps: int = 0
    steps: int = 1000
    batch_size: int = 8
    crop_seconds: float = 1.0
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    waveform_weight: float = 1.0
    mel_weight: float = 1.0
    quantizer_weight: float = 1.0
    save_every: int = 250

    modality = SOUND

    @property
    def dim(self) -> int:
        """Width of the latent."""
        return self.width

    @property
    def training_code(self) -> tuple[Any, ...]:
        """Code of the training, whose changes make cached runs stale."""
        return (AudioCodec, CodecModule, AudioDataModule, train)

    @property
    def measures(self) -> SoundMeasure:
        """Metrics and files of sound at the models' rate."""
        return SoundMeasure(self.sample_rate)

    def train(self, quantizer: Quantizer, items: Sequence[Clip], seed: int, folder: Path, note: Note) -> Training:
        """Train, or go on from the checkpoint in ``folder``."""
        codec = self._codec(quantizer, seed)
        if self.pretrain_steps:
            start = AudioCodec.from_folder(self._pretrained(items, seed, folder.parent, note))
            codec.encoder.load_state_dict(start.encoder.state_dict())
            codec.decoder.load_state_dict(start.decoder.state_dict())
            codec.initialized.fill_(True)
        return self._run(codec, items, seed, folder, note, self.steps, 0 if self.pretrain_steps else None)

    def _pretrained(self, clips: Sequence[Clip], seed: int, runs: Path, note: Note) -> Path:
        """Train encoder and decoder alone, unless that is done."""
        settings = {name: value for name, value in self.settings().items() if name not in ("steps", "quantizer_weight")}
        key = key_of(settings=settings, seed=seed, data=fingerprint(clips), code=training_digest(self))
        folder = runs / f"start-{key}"
        if read_json(folder / "training.json") is None:
            codec = self._codec(VQ(self.width, 2), seed)
            steps = self.pretrain_steps
            done = self._run(codec, clips, seed, folder, lambda text: note(f"pretraining, {text}"), steps, steps)
            write_json(folder / "training.json", {"seed": seed, "settings": self.settings(), **asdict(done)})
        return folder / "codec"

    def _codec(self, quantizer: Quantizer, seed: int) -> AudioCodec:
        torch.manual_seed(seed)  # the same encoder and decoder for every quantizer
        return AudioCodec(
            quantizer,
            sample_rate=self.sample_rate,
            num_filters=self.num_filters,
            strides=self.strides,
            num_lstm_layers=self.num_lstm_layers,
        )

    def _run(
        self,
        codec: AudioCodec,
        clips: Sequence[Clip],
        seed: int,
        folder: Path,
        note: Note,
        steps: int,
        quantize_after: int | None,
    ) -> Training:
        module = CodecModule(
            codec,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            waveform_weight=self.waveform_weight,
            mel_weight=self.mel_weight,
            quantizer_weight=self.quantizer_weight,
            quantize_after=quantize_after,
        )
        # pretraining hears other crops
        crops_seed = 2 * seed + (quantize_after == steps)
        data = _GivenClips(clips, self.crop_seconds, self.batch_size, crops_seed)
        return trained(
            module,
            data,
            loss="mel",
            folder=folder,
            steps=steps,
            seed=seed,
            save_every=self.save_every,
            note=note,
        )

    def saved(self, folder: Path) -> AudioCodec:
        """The codec that was trained."""
        return AudioCodec.from_folder(folder / "codec")


class _GivenClips(AudioDataModule):
    """Crops of the comparison's clips; nothing is validated while training."""

    def __init__(self, clips: Sequence[Clip], crop_seconds: float, batch_size: int, seed: int) -> None:
        super().__init__("", crop_seconds=crop_seconds, batch_size=batch_size, valid_split=None, seed=seed)
        self._given = list(clips)

    def clips(self, split: str | None) -> list[Clip]:
        """The clips given."""
        return self._given
