"""Measurement of models of sound: clips of any length, mono at the model's rate, each coded by itself."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from vqkit.compare.dataset import Dataset
from vqkit.compare.measure import Measure
from vqkit.data import Clip, write_audio
from vqkit.data.audio.file import read_clip
from vqkit.data.unreadable import readable
from vqkit.metrics import comparison_metrics
from vqkit.modality import SOUND

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["SoundMeasure"]

_COUNTED = 24  # training clips whose codes give the histograms of the entropy coder


class SoundMeasure(Measure[Clip]):
    """Measures models of sound.

    Args:
        sample_rate: sample rate of the models, in Hz.
    """

    modality = SOUND
    examples, rate = "clips", "kbps"
    suffix = ".flac"
    titles: ClassVar[Mapping[str, str]] = {"si_sdr": "SI-SDR"}
    first = ("mel_distance", "snr")

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def items(self, data: Dataset, training: bool) -> list[Clip]:
        """Clips to train on, or to measure on."""
        return data.clips(training)

    def described(self, train: Sequence[Clip], test: Sequence[Clip]) -> dict[str, Any]:
        """Return the durations in seconds and the numbers of clips, for the record."""
        return {
            "train_seconds": sum(clip.seconds for clip in train),
            "test_seconds": sum(clip.seconds for clip in test),
            "clips": {"train": len(train), "test": len(test)},
        }

    def label(self, item: Clip) -> str:
        """The file's name without its suffix."""
        return Path(item.name).stem

    def extent(self, item: Clip, signal: Tensor) -> dict[str, Any]:
        """Group, rate and duration."""
        seconds = signal.shape[-1] / self.sample_rate
        return {"group": item.group, "sample_rate": self.sample_rate, "seconds": seconds}

    def metrics(self) -> "MetricCollection":
        """Metrics of sound at the model's rate."""
        return comparison_metrics(self.sample_rate)

    def signals(self, items: Sequence[Clip]) -> Iterator[tuple[Clip, Tensor]]:
        """Mono waveforms (1, 1, samples) of those that can be read."""
        return readable(
            items,
            lambda clip: clip.path,
            lambda clip: read_clip(clip.path, self.sample_rate, channels=1)[None],
        )

    def batches(self, items: Sequence[Clip]) -> Iterator[Tensor]:
        """Yield one clip a batch, since their lengths differ."""
        return (wave for _, wave in self.signals(items))

    def counting(self, train: Sequence[Clip]) -> Sequence[Clip]:
        """Two dozen clips, or up to twice as many, spread evenly."""
        return train[:: max(1, len(train) // _COUNTED)]

    def size(self, signals: Tensor) -> int:
        """Number of samples."""
        return signals.shape[-1]

    def units(self, signals: Tensor) -> float:
        """Milliseconds: a bit a millisecond is a kbit/s."""
        return 1000 * signals.shape[-1] / self.sample_rate

    def packed(self, codes: list[Tensor]) -> list[Tensor]:
        """Every clip by itself, as its file would be."""
        return codes

    def write(self, path: Path, signal: Tensor) -> None:
        """Write a waveform."""
        write_audio(path, signal, self.sample_rate)
