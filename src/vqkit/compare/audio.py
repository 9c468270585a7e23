"""Measure an audio model: quality on whole clips, codebook use, bits really written, and what the report shows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from vqkit.bitstream import encode_codes
from vqkit.compare.codebooks import counted, curve_stages, residual_energy, usage_of, use_by_part, values_of
from vqkit.compare.pca import code_cloud
from vqkit.data import Clip, read_audio, write_audio
from vqkit.data.unreadable import readable
from vqkit.metrics import BitRate, StreamingMetric, comparison_metrics
from vqkit.quantize import Quantizer

__all__ = ["AudioModel", "described", "label", "measure_audio", "originals", "protocols"]

_FIRST = ("mel_distance", "snr")
_ACRONYMS = {"snr", "lsd", "psnr", "ssim", "kld", "fd"}
_TITLES = {"si_sdr": "SI-SDR"}


class AudioModel(Protocol):
    """What `FrameCodec` and `AudioCodec` have in common."""

    quantizer: Quantizer
    sample_rate: int

    def analyze(self, wav: Tensor) -> Tensor:
        """Latent (1, frames, dim) of a waveform (1, 1, samples)."""

    def synthesize(self, z: Tensor, samples: int | None = None) -> Tensor:
        """Waveform of a latent."""


def protocols(sample_rate: int) -> dict[str, Any]:
    """Protocol of each metric by name."""
    found: dict[str, Any] = {}
    metrics = cast("dict[str, StreamingMetric]", dict(comparison_metrics(sample_rate).items()))
    for key in sorted(metrics, key=lambda key: (key not in _FIRST, key)):  # a narrow terminal shows the first ones
        metric = metrics[key]
        words = [word.upper() if word in _ACRONYMS else word for word in key.split("_")]
        protocol = metric.protocol
        described = {field: protocol[field] for field in ("unit", "better", "description")}
        found[key] = {"name": _TITLES.get(key, " ".join(words)), **described, **protocol["settings"]}
    return found


def label(clip: Clip) -> str:
    """Short name of a clip, for files and people."""
    return Path(clip.name).stem


def waves(clips: Sequence[Clip], sample_rate: int) -> Iterator[tuple[Clip, Tensor]]:
    """Mono waveforms (1, 1, samples) of those that can be read."""
    return readable(
        clips, lambda clip: clip.path, lambda clip: read_audio(clip.path, sample_rate, channels=1).samples[None]
    )


def described(train: Sequence[Clip], test: Sequence[Clip]) -> dict[str, Any]:
    """How much sound that is."""
    return {
        "train_seconds": sum(clip.seconds for clip in train),
        "test_seconds": sum(clip.seconds for clip in test),
        "clips": {"train": len(train), "test": len(test)},
    }


def originals(clips: Sequence[Clip], sample_rate: int, folder: Path) -> dict[str, Any]:
    """Write the clips to listen to, mono at the model's rate, and describe them."""
    found = []
    for clip, wave in waves(clips, sample_rate):
        path = folder / "audio" / "original" / f"{label(clip)}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, wave[0], sample_rate)
        seconds = wave.shape[-1] / sample_rate
        found.append(
            {"name": label(clip), "group": clip.group, "sample_rate": sample_rate, "seconds": seconds}
            | {"original": str(path.relative_to(folder))}
        )
    return {"clips": found}


@torch.no_grad()
def measure_audio(
    model: AudioModel, train: Sequence[Clip], test: Sequence[Clip], listen: Sequence[Clip], details: bool, folder: Path
) -> dict[str, Any]:
    """Measure on the test clips; reconstructions of ``listen`` are written to ``folder``.

    Args:
        model: in evaluation mode.
        train: clips whose codes give the histograms of the entropy coder.
        test: clips measured, each whole.
        listen: those whose reconstruction is kept.
        details: also usage, residual energy, PCA and the rate curve.
        folder: of the run.
    """
    quantizer = model.quantizer
    metrics, packed, coded = comparison_metrics(model.sample_rate), BitRate(), BitRate()
    usage = usage_of(quantizer)
    histograms = _histograms(model, train)
    latents, reconstructions, all_codes = [], {}, []
    for clip, wave in waves(test, model.sample_rate):
        samples, seconds = wave.shape[-1], wave.shape[-1] / model.sample_rate
        z = model.analyze(wave)
        codes = quantizer.encode(z)
        back = model.synthesize(quantizer.decode(codes), samples)
        metrics.update(back, wave)
        usage.update(codes)
        packed.update(len(encode_codes(codes[0], quantizer.code_sizes)), seconds)
        if histograms is not None:
            coded.update(len(encode_codes(codes[0], quantizer.code_sizes, histograms)), seconds)
        latents.append(z[0])
        all_codes.append(codes[0])
        if clip in listen:
            path = folder / f"{label(clip)}.flac"
            write_audio(path, back[0], model.sample_rate)
            reconstructions[label(clip)] = path.name
    values: dict[str, Any] = {
        "rates": {
            "kbps": float(packed.compute()),
            "entropy_kbps": float(coded.compute()) if histograms is not None else None,
        },
        "metrics": values_of(metrics),
        "reconstructions": reconstructions,
    }
    if details:
        z, codes = torch.cat(latents), torch.cat(all_codes)
        values |= {
            "usage": use_by_part(usage),
            "residual_energy": residual_energy(quantizer, z, codes),
            "pca": code_cloud(quantizer, z, codes),
            "rate_curve": _rate_curve(model, test),
        }
    return values


def _histograms(model: AudioModel, train: Sequence[Clip], most: int = 24) -> list[Tensor] | None:
    """How often each code occurs in (some of) the training clips; None for alphabets too large to count."""
    some = waves(train[:: max(1, len(train) // most)], model.sample_rate)
    return counted(model.quantizer, (model.quantizer.encode(model.analyze(wave))[0] for _, wave in some))


def _rate_curve(model: AudioModel, test: Sequence[Clip]) -> list[dict[str, Any]] | None:
    """Quality of the first 1, 2, 4, … stages."""
    quantizer = model.quantizer
    curve = []
    for stages in curve_stages(quantizer):
        metrics, rate = comparison_metrics(model.sample_rate), BitRate()
        held = quantizer.stage_ends[stages - 1]
        for _, wave in waves(test, model.sample_rate):
            codes = quantizer.first_stages(quantizer.encode(model.analyze(wave)), stages)
            metrics.update(model.synthesize(quantizer.decode(codes), wave.shape[-1]), wave)
            rate.update(len(encode_codes(codes[0], quantizer.code_sizes[:held])), wave.shape[-1] / model.sample_rate)
        curve.append({"stages": stages, "kbps": float(rate.compute()), "metrics": values_of(metrics)})
    return curve or None
