"""Steps of the page that differ between sound and images: read an upload, code it, measure it, show it."""

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from vqkit.bitstream import VqkHeader
from vqkit.data import write_audio, write_image
from vqkit.metrics import SISDR, ImagePSNR, ImageSSIM, MelDistance
from vqkit.modality import IMAGE, SOUND, Modality
from vqkit.models.image.compression import encode_image
from vqkit.models.tokenizer import Tokenizer
from vqkit.report.spectrogram import draw_spectrogram, mel_power_db
from vqkit.serve.pictures import DPI, WIDTH_INCHES
from vqkit.serve.uploads import Limits, Upload, read_picture, read_sound

__all__ = ["MEDIA", "Medium", "Numbers", "medium_of"]

Figure = tuple[str, str, bytes | None]  # title, note, PNG file
Row = tuple[str, str, str]  # name, value, note

_HEADER_BYTES = 4096  # a WAV or PNG file around its samples, at most


@dataclass(frozen=True)
class Numbers:
    """Measurements of a file and of its reconstruction.

    Attributes:
        size: size of the reconstruction: its samples, or its height and width.
        units: size in the units of the rate: milliseconds (bits per ms are kbit/s), or pixels.
        vqk_bytes: size of the whole file.
        rate: rate of all bytes of the file, in the modality's unit.
        nominal_rate: rate of the stages that were kept, before entropy coding; None of a restored file.
        stages: number of stages that were kept.
        frames: number of frames or cells that have codes.
        encode_seconds: time to compress; None of a restored file.
        decode_seconds: time to decompress.
        quality: value of each metric, None where the signal is too small for it; empty for a restored file.
    """

    size: tuple[int, ...]
    units: float
    vqk_bytes: int
    rate: float
    nominal_rate: float | None
    stages: int
    frames: int
    encode_seconds: float | None
    decode_seconds: float
    quality: Mapping[str, float | None]


class Medium(ABC):
    """A modality as the page has it.

    Attributes:
        modality: modality of the signals.
        suffix: suffix of the files that the page offers.
        place: name of the places in the codes, in the plural.
    """

    modality: ClassVar[Modality]
    suffix: ClassVar[str]
    place: ClassVar[str]

    @abstractmethod
    def read(self, path: Path, model: Any, limits: Limits) -> Upload:
        """An uploaded file as the model takes it; errors and warnings do not name it."""

    @abstractmethod
    def compress(self, model: Any, signal: Tensor, stages: int) -> bytes:
        """The ``.vqk`` file of a signal, with its first stages."""

    @abstractmethod
    def decompress(self, model: Any, vqk: bytes) -> Tensor:
        """The signal of a ``.vqk`` file."""

    @abstractmethod
    def check(self, model: Any, header: VqkHeader, frames: int, limits: Limits) -> None:
        """Refuse a ``.vqk`` file whose signal is too large, or whose codes are not the model's.

        Raises:
            ValueError: it is so.
        """

    @abstractmethod
    def rates(self, model: Any) -> tuple[float, ...]:
        """The rates that the page offers: of the first stage, of the first two and so on."""

    @abstractmethod
    def nominal_rates(self, model: Any, signal: Tensor) -> tuple[float, ...]:
        """Return the rates of the stages for a signal of this size, as `rates`."""

    @abstractmethod
    def units(self, model: Any, signal: Tensor) -> float:
        """Return the amount of signal, in units such that one bit a unit is the unit of the rate."""

    @abstractmethod
    def quality(self, model: Any, original: Tensor, reconstruction: Tensor) -> dict[str, float | None]:
        """Value of each metric."""

    @abstractmethod
    def rows(self, numbers: Numbers) -> list[Row]:
        """Rows of the table of numbers that only this medium has: its size, and its quality where that was measured."""

    @abstractmethod
    def speed(self, numbers: Numbers, seconds: float) -> str:
        """Describe the speed of a job that took ``seconds``, in words."""

    @abstractmethod
    def figures(self, model: Any, original: Tensor | None, reconstruction: Tensor) -> list[Figure]:
        """Pictures of the signals; of a restored file there is no original."""

    @abstractmethod
    def extent(self, model: Any, frames: int) -> tuple[float, str]:
        """Return the extent of ``frames`` frames or cells and its unit, for the axis of the codes."""

    @abstractmethod
    def write(self, path: Path, model: Any, signal: Tensor) -> None:
        """Write a file that the page offers."""

    @abstractmethod
    def most_bytes(self, model: Any, limits: Limits) -> int:
        """Size that such a file can have."""


class _Sound(Medium):
    modality = SOUND
    suffix = ".wav"
    place = "frames"

    def read(self, path: Path, model: Any, limits: Limits) -> Upload:
        return read_sound(path, limits, model.sample_rate, model.channels)

    def compress(self, model: Any, signal: Tensor, stages: int) -> bytes:
        made: bytes = model.compress(signal, model.sample_rate, model.rates()[stages - 1])
        return made

    def decompress(self, model: Any, vqk: bytes) -> Tensor:
        wav: Tensor = model.decompress(vqk)[0]
        return wav

    def check(self, model: Any, header: VqkHeader, frames: int, limits: Limits) -> None:
        limits.check_seconds(frames / model.frame_rate)
        fitting = tuple(model.quantizer.code_sizes[: len(header.code_sizes)])
        if fitting != header.code_sizes or header.hop_samples != model.hop_samples:
            raise ValueError("its codes do not fit")

    def rates(self, model: Any) -> tuple[float, ...]:
        found: tuple[float, ...] = model.rates()
        return found

    def nominal_rates(self, model: Any, signal: Tensor) -> tuple[float, ...]:
        return self.rates(model)

    def units(self, model: Any, signal: Tensor) -> float:
        return 1000 * signal.shape[-1] / float(model.sample_rate)

    def quality(self, model: Any, original: Tensor, reconstruction: Tensor) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for name, metric in (("mel_distance", MelDistance(model.sample_rate)), ("si_sdr", SISDR())):
            found[name] = None
            if reconstruction.shape[-1] >= metric.min_samples:
                metric.update(reconstruction[None], original[None])
                found[name] = float(metric.compute())
        return found

    def rows(self, numbers: Numbers) -> list[Row]:
        rows = [("Duration", f"{numbers.units / 1000:.2f} s", "")]
        if numbers.quality:
            mel, si_sdr = numbers.quality["mel_distance"], numbers.quality["si_sdr"]
            rows.append(("Mel distance", "–" if mel is None else f"{mel:.3f}", "0 is equal; lower is better"))
            rows.append(("SI-SDR", _decibels(si_sdr), "higher is better"))
        return rows

    def speed(self, numbers: Numbers, seconds: float) -> str:
        return f"{numbers.units / 1000 / max(seconds, 1e-9):.3g} × real time"

    def figures(self, model: Any, original: Tensor | None, reconstruction: Tensor) -> list[Figure]:
        rate = f"{model.sample_rate / 1000:g} kHz"
        if original is None:
            return [("Sound", f"at {rate}", _spectrogram(reconstruction, model.sample_rate, None))]
        peak_db = float(mel_power_db(original.T.numpy(), model.sample_rate).max())
        before, after = (_spectrogram(wav, model.sample_rate, peak_db) for wav in (original, reconstruction))
        return [
            ("Original", f"as the codec takes it, at {rate}", before),
            ("Reconstruction", "the same range of 80 dB", after),
        ]

    def extent(self, model: Any, frames: int) -> tuple[float, str]:
        return frames * model.hop_samples / model.sample_rate, " s"

    def write(self, path: Path, model: Any, signal: Tensor) -> None:
        write_audio(path, signal, model.sample_rate)

    def most_bytes(self, model: Any, limits: Limits) -> int:
        return int(limits.max_seconds * model.sample_rate * model.channels * 2) + _HEADER_BYTES


class _Image(Medium):
    modality = IMAGE
    suffix = ".png"
    place = "cells"

    def read(self, path: Path, model: Any, limits: Limits) -> Upload:
        return read_picture(path, limits, model)

    def compress(self, model: Any, signal: Tensor, stages: int) -> bytes:
        file = io.BytesIO()
        encode_image(model, file, signal, stages)
        return file.getvalue()

    def decompress(self, model: Any, vqk: bytes) -> Tensor:
        image: Tensor = model.decompress(vqk)
        return image

    def check(self, model: Any, header: VqkHeader, frames: int, limits: Limits) -> None:
        if len(header.image_size) != 2 or not all(header.image_size):
            raise ValueError("its codes do not fit")
        limits.check_pixels(*header.image_size)
        fitting = tuple(model.quantizer.code_sizes[: len(header.code_sizes)])
        if fitting != header.code_sizes or header.grid != model.grid(*header.image_size):
            raise ValueError("its codes do not fit")

    def rates(self, model: Any) -> tuple[float, ...]:
        side = 64 * model.backbone.cell  # a multiple of the cell: an image's last cells may be partly empty
        found: tuple[float, ...] = model.rates(*(model.backbone.image_size or (side, side)))
        return found

    def nominal_rates(self, model: Any, signal: Tensor) -> tuple[float, ...]:
        found: tuple[float, ...] = model.rates(*signal.shape[-2:])
        return found

    def units(self, model: Any, signal: Tensor) -> float:
        return math.prod(signal.shape[-2:])

    def quality(self, model: Any, original: Tensor, reconstruction: Tensor) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for name, metric in (("psnr", ImagePSNR()), ("ssim", ImageSSIM())):
            found[name] = None
            if min(original.shape[-2:]) >= metric.min_size:
                metric.update(reconstruction[None], original[None])
                found[name] = float(metric.compute())
        return found

    def rows(self, numbers: Numbers) -> list[Row]:
        height, width = numbers.size
        rows = [("Size", f"{width} × {height}", "pixels")]
        if numbers.quality:
            psnr, ssim = numbers.quality["psnr"], numbers.quality["ssim"]
            rows.append(("PSNR", _decibels(psnr), "higher is better"))
            rows.append(("SSIM", "–" if ssim is None else f"{ssim:.3f}", "1 is equal; higher is better"))
        return rows

    def speed(self, numbers: Numbers, seconds: float) -> str:
        return f"{numbers.units / 1e6 / max(seconds, 1e-9):.3g} megapixels/s"

    def figures(self, model: Any, original: Tensor | None, reconstruction: Tensor) -> list[Figure]:
        return []  # the page shows the images themselves

    def extent(self, model: Any, frames: int) -> tuple[float, str]:
        return frames, ""

    def write(self, path: Path, model: Any, signal: Tensor) -> None:
        write_image(path, signal)

    def most_bytes(self, model: Any, limits: Limits) -> int:
        # what deflate cannot make smaller it stores, with a few bytes more a row and a block
        return int(limits.max_megapixels * 1e6 * model.channels * 1.1) + _HEADER_BYTES


MEDIA: tuple[Medium, ...] = (_Sound(), _Image())


def medium_of(model: Tokenizer) -> Medium:
    """The medium of a model.

    Raises:
        ValueError: the page has none for what the model codes.
    """
    for medium in MEDIA:
        if medium.modality is model.modality:
            return medium
    raise ValueError(f"a {type(model).__name__} codes {model.modality.plural}, which the page does not show")


def _decibels(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} dB".replace("-", "−")


def _spectrogram(wav: Tensor, sample_rate: int, peak_db: float | None) -> bytes:
    return draw_spectrogram(np.asarray(wav.T), sample_rate, peak_db, width_inches=WIDTH_INCHES, dpi=DPI)
