"""Measure a video tokenizer: quality of the frames of test clips, codebook use, bits really written, and what the report shows."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from vqkit.bitstream import encode_codes
from vqkit.compare.codebooks import counted, curve_stages, residual_energy, usage_of, use_by_part, values_of
from vqkit.compare.pca import code_cloud
from vqkit.data import write_image
from vqkit.data.video import VideoItem, middle_clip
from vqkit.metrics import StreamingMetric, image_metrics
from vqkit.models.video.tokenizer import VideoTokenizer
from vqkit.types import Float

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["VideoMeasure", "side_by_side"]

_BATCH = 8
_COUNTED = 128  # training clips whose codes give the histograms of the entropy coder
_SHOWN_VECTORS = 1 << 15
_SHOWN_RATE = 8.0  # frames a second of the players, whatever the file's rate and the stride are: motion can be followed
_NAMES = {"psnr": "PSNR", "ssim": "SSIM", "mae": "MAE"}


def side_by_side(
    video: Float[Tensor, "channels frames height width"],
) -> Float[Tensor, "channels height frames_times_width"]:
    """The frames of a clip as one image, from left to right.

    Example:
        >>> side_by_side(torch.rand(3, 8, 16, 24)).shape
        torch.Size([3, 16, 192])
    """
    return video.movedim(1, 2).flatten(2)


class VideoMeasure:
    """Measures tokenizers on clips of one size, the middles of the videos. A metric is that of each frame, averaged.

    Args:
        frames: of a clip.
        size: (height, width).
        stride: frames of the file from one frame of a clip to the next.
    """

    def __init__(self, frames: int, size: tuple[int, int], stride: int) -> None:
        self.frames, self.size, self.stride = frames, size, stride

    @property
    def protocols(self) -> dict[str, Any]:
        """Protocol of each metric by name."""
        found: dict[str, Any] = {}
        metrics = cast("dict[str, StreamingMetric]", dict(self._metrics().items()))
        for key in _NAMES:
            protocol = metrics[key].protocol
            described = {field: protocol[field] for field in ("unit", "better", "description")}
            described["description"] = described["description"].replace(
                "mean over images", "mean over the frames of all clips"
            )
            found[key] = {"name": _NAMES[key], **described, **protocol["settings"]}
        return found

    def originals(self, shown: Sequence[VideoItem], folder: Path) -> dict[str, Any]:
        """Write the clips to show, their frames side by side, as the model gets them, and describe them."""
        found = []
        for item in shown:
            name = Path(item.name).stem
            path = folder / "video" / "original" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, side_by_side(self._clip(item)))
            sizes = {"frames": self.frames, "width": self.size[1], "height": self.size[0], "frame_rate": _SHOWN_RATE}
            group = item.label or "video"
            found.append({"name": name, "group": group, **sizes, "original": str(path.relative_to(folder))})
        return {"videos": found}

    @torch.no_grad()
    def measure(
        self,
        tokenizer: VideoTokenizer,
        train: Sequence[VideoItem],
        test: Sequence[VideoItem],
        shown: Sequence[VideoItem],
        details: bool,
        folder: Path,
    ) -> dict[str, Any]:
        """Measure on the middles of the test videos; reconstructions of ``shown`` are written to ``folder``.

        Args:
            tokenizer: in evaluation mode.
            train: videos some of whose codes give the histograms of the entropy coder.
            test: videos measured.
            shown: those whose reconstruction is kept.
            details: also usage, residual energy, PCA and the rate curve.
            folder: of the run.
        """
        quantizer = tokenizer.quantizer
        metrics, usage = self._metrics(), usage_of(quantizer)
        latents, codes = [], []
        for clips in self._batches(test):
            z = tokenizer.analyze(clips)
            found = quantizer.encode(z)
            metrics.update(*map(_frames, (self._made(tokenizer, quantizer.decode(found)), clips)))
            usage.update(found)
            latents.append(z.flatten(end_dim=-2))
            codes.append(found.flatten(end_dim=-2))
        z, all_codes = torch.cat(latents), torch.cat(codes)
        pixels = len(test) * self.frames * math.prod(self.size)
        some = train[:: max(1, len(train) // _COUNTED)]
        histograms = counted(
            quantizer, (quantizer.encode(tokenizer.analyze(clips)).flatten(end_dim=-2) for clips in self._batches(some))
        )
        entropy = None
        if histograms is not None:
            entropy = 8 * len(encode_codes(all_codes, quantizer.code_sizes, histograms)) / pixels
        vectors = math.prod(tokenizer.grid(self.frames, *self.size))
        values: dict[str, Any] = {
            "facts": {"bits_per_clip": vectors * quantizer.bits_per_vector},
            "rates": {"bpp": 8 * len(encode_codes(all_codes, quantizer.code_sizes)) / pixels, "entropy_bpp": entropy},
            "metrics": values_of(metrics),
            "reconstructions": self._reconstructions(tokenizer, shown, folder),
        }
        if details:
            every = max(1, len(z) // _SHOWN_VECTORS)
            values |= {
                "usage": use_by_part(usage),
                "residual_energy": residual_energy(quantizer, z[::every], all_codes[::every], 3),
                "pca": code_cloud(quantizer, z[::every], all_codes[::every], 3),
                "rate_curve": self._rate_curve(tokenizer, test),
            }
        return values

    def _reconstructions(self, tokenizer: VideoTokenizer, shown: Sequence[VideoItem], folder: Path) -> dict[str, str]:
        found = {}
        for item in shown:
            name = Path(item.name).stem
            codes = tokenizer.encode(self._clip(item)[None])
            write_image(folder / f"{name}.png", side_by_side(tokenizer.decode(codes, (self.frames, *self.size))[0]))
            found[name] = f"{name}.png"
        return found

    def _rate_curve(self, tokenizer: VideoTokenizer, test: Sequence[VideoItem]) -> list[dict[str, Any]] | None:
        """Quality of the first 1, 2, 4, … stages."""
        quantizer, curve = tokenizer.quantizer, []
        pixels = len(test) * self.frames * math.prod(self.size)
        for stages in curve_stages(quantizer):
            metrics, codes = self._metrics(), []
            for clips in self._batches(test):
                found = quantizer.first_stages(quantizer.encode(tokenizer.analyze(clips)), stages)
                metrics.update(*map(_frames, (self._made(tokenizer, quantizer.decode(found)), clips)))
                codes.append(found.flatten(end_dim=-2))
            written = len(encode_codes(torch.cat(codes), quantizer.code_sizes[: quantizer.stage_ends[stages - 1]]))
            curve.append({"stages": stages, "bpp": 8 * written / pixels, "metrics": values_of(metrics)})
        return curve or None

    def _made(self, tokenizer: VideoTokenizer, z_q: Tensor) -> Tensor:
        return tokenizer.synthesize(z_q, (self.frames, *self.size))

    def _clip(self, item: VideoItem) -> Tensor:
        return middle_clip(item.path, self.frames, self.stride, self.size)

    def _batches(self, items: Sequence[VideoItem]) -> Iterator[Tensor]:
        clips = map(self._clip, items)
        while batch := list(islice(clips, _BATCH)):
            yield torch.stack(batch)

    def _metrics(self) -> "MetricCollection":
        return image_metrics()


def _frames(
    video: Float[Tensor, "batch channels frames height width"],
) -> Float[Tensor, "images channels height width"]:
    """All frames as images."""
    return video.transpose(1, 2).flatten(end_dim=1)
