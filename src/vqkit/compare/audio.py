"""Measure an audio model: quality on whole clips, codebook use, bits really written, and what the report shows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

from vqkit.bitstream import encode_codes
from vqkit.compare.pca import code_cloud
from vqkit.data import Clip, read_audio, write_audio
from vqkit.metrics import BitRate, CodebookUsage, StreamingMetric, comparison_metrics
from vqkit.quantize import Product, Quantizer

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["AudioModel", "label", "measure_audio", "originals", "protocols"]

_HISTOGRAM_SIZES = 1 << 16  # alphabets up to here get a histogram for entropy coding
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
    """Mono waveforms (1, 1, samples)."""
    for clip in clips:
        yield clip, read_audio(clip.path, sample_rate, channels=1).samples[None]


def originals(clips: Sequence[Clip], sample_rate: int, folder: Path) -> list[dict[str, Any]]:
    """Write the clips to listen to, mono at the model's rate, and describe them."""
    described = []
    for clip, wave in waves(clips, sample_rate):
        path = folder / "audio" / "original" / f"{label(clip)}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, wave[0], sample_rate)
        seconds = wave.shape[-1] / sample_rate
        described.append(
            {"name": label(clip), "group": clip.group, "sample_rate": sample_rate, "seconds": seconds}
            | {"original": str(path.relative_to(folder))}
        )
    return described


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
    usage = _usage(quantizer)
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
        "kbps": float(packed.compute()),
        "entropy_kbps": float(coded.compute()) if histograms is not None else None,
        "metrics": _values(metrics),
        "reconstructions": reconstructions,
    }
    if details:
        report = usage.compute().to_dict()
        z, codes = torch.cat(latents), torch.cat(all_codes)
        values |= {
            "usage": {"pooled": report["pooled"], "stages": report["per_stage"], "pieces": report["per_piece"]},
            "residual_energy": _residual_energy(quantizer, z, codes),
            "pca": code_cloud(quantizer, z, codes),
            "rate_curve": _rate_curve(model, test),
        }
    return values


def _values(metrics: "MetricCollection") -> dict[str, float | None]:
    """Value of each metric by name; None for one that would need more clips, as a Fréchet distance of a single window."""
    values: dict[str, float | None] = {}
    for name, metric in metrics.items():
        try:
            values[name] = float(metric.compute())
        except ValueError:
            values[name] = None
    return values


def _usage(quantizer: Quantizer) -> CodebookUsage:
    return CodebookUsage(quantizer.code_sizes, quantizer.codes_per_stage, shared=_shared(quantizer))


def _shared(quantizer: Quantizer) -> bool:
    """Whether the pieces of the stages share codebooks."""
    products = [module for module in quantizer.modules() if isinstance(module, Product)]
    return bool(products) and all(product.repeats > 1 and len(product.pieces) == 1 for product in products)


def _histograms(model: AudioModel, train: Sequence[Clip], most: int = 24) -> list[Tensor] | None:
    """How often each code occurs in (some of) the training clips; None for alphabets too large to count."""
    sizes = model.quantizer.code_sizes
    if max(sizes) > _HISTOGRAM_SIZES:
        return None
    counts = [torch.zeros(size, dtype=torch.long) for size in sizes]
    step = max(1, len(train) // most)
    for _, wave in waves(train[::step], model.sample_rate):
        codes = model.quantizer.encode(model.analyze(wave))[0]
        for count, column in zip(counts, codes.unbind(dim=1), strict=True):
            count += torch.bincount(column, minlength=len(count))
    return counts


def _residual_energy(quantizer: Quantizer, z: Tensor, codes: Tensor) -> list[float]:
    """Share of the latent's energy that is left after 0, 1, … stages."""
    energy = z.square().sum()
    left = [1.0]
    for stages in range(1, quantizer.num_stages + 1):
        left.append(float((z - quantizer.decode(codes[None], stages=stages)[0]).square().sum() / energy))
    return left


def _rate_curve(model: AudioModel, test: Sequence[Clip]) -> list[dict[str, Any]] | None:
    """Quality of the first 1, 2, 4, … stages."""
    quantizer = model.quantizer
    if quantizer.num_stages == 1:
        return None
    curve = []
    for stages in sorted({*(1 << n for n in range(8) if 1 << n < quantizer.num_stages), quantizer.num_stages}):
        metrics, rate = comparison_metrics(model.sample_rate), BitRate()
        held = sum(quantizer.codes_per_stage[:stages])
        for _, wave in waves(test, model.sample_rate):
            codes = quantizer.encode(model.analyze(wave))[..., :held]
            metrics.update(model.synthesize(quantizer.decode(codes), wave.shape[-1]), wave)
            rate.update(len(encode_codes(codes[0], quantizer.code_sizes[:held])), wave.shape[-1] / model.sample_rate)
        curve.append({"stages": stages, "kbps": float(rate.compute()), "metrics": _values(metrics)})
    return curve
