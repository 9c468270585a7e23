"""`Bridle`: a self-supervised encoder of sound, images or video, with the tokenizer that it learned from.

signal ─ front end ─ patches ┬ encoder (a few places) ─ predictor ─ logits of the codes at the hidden places
                             └ tokenizer (all places) ─ codes ─ estimator ─ what the encoder has at all places
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vqkit.models.audio.padding import silence_end
from vqkit.models.bridle import handover
from vqkit.models.bridle.encoder import Encoder
from vqkit.models.bridle.front import AudioFront, PixelFront
from vqkit.models.bridle.masking import Mask, random_mask, tube_mask
from vqkit.models.bridle.patches import patchify
from vqkit.models.bridle.predictor import Estimator, Predictor
from vqkit.models.bridle.presets import preset_arguments
from vqkit.models.bridle.stack import Stack
from vqkit.models.bridle.tokenizer import Tokenizer
from vqkit.models.hub import HubModel
from vqkit.models.input_checks import home
from vqkit.quantize import Quantizer
from vqkit.scale import check_image_scale, check_wav_scale
from vqkit.types import Bool, Float, Int

__all__ = ["Bridle", "Patches"]

_STATISTICS = {
    "audio": (-4.4446, 3.3216),
    "image": (0.45, 0.25),
    "video": (0.45, 0.25),
}  # AudioSet's; ImageNet's, rounded
_DIMS = {"audio": 2, "image": 2, "video": 3}


@dataclass(frozen=True)
class Patches:
    """Signals cut into patches.

    Attributes:
        values: the patches, the last coordinate of the grid running fastest.
        grid: number of patches along each coordinate.
        real: False behind the end of a signal; None where all are real.
    """

    values: Float[Tensor, "batch places values"]
    grid: tuple[int, ...]
    real: Bool[Tensor, "batch places"] | None = None


class Bridle(HubModel, coders={Stack: (asdict, lambda sizes: Stack(**sizes))}):
    """Encoder, predictor, tokenizer and estimator.

    `preset` has sizes that work; ``vqkit pretrain`` trains one, ``vqkit probe`` measures it.

    Args:
        modality: ``"audio"``, ``"image"`` or ``"video"``.
        size: frames and mel bands of the longest sound; height and width of images; frames, height and width of video.
        patch: sizes of a patch, which divide ``size``.
        encoder: sizes of the encoder, and of the tokenizer's.
        predictor: sizes of the predictor.
        estimator: sizes of the estimator.
        quantizer: what the tokenizer's codebooks are; its dim is the length of a code.
        channels: channels of images and video.
        windows: height and width of windows within which the predictor attends, which is what the paper says of sound and images; None
            lets it attend everywhere, which is what the published code does with images.
        stem: filters of a convolutional stem on each patch; 0 embeds patches by one linear layer, as published.
        normalise: normalisation of what the quantizer gets: ``"once"``, ``"each-stage"`` as in the published code, or ``"none"``; see
            `Tokenizer`.
        positions: ``"grid"``, or ``"transposed"`` as in the published code for sound; see `position_table`.
        cold_positions: whether codes of the cold start depend on the place of a patch, as in the published code; see `Tokenizer`.
        statistics: mean and standard deviation of log energies (AudioSet's by default) or of pixels.
        sample_rate: sample rate of sound, in Hz.

    Raises:
        ValueError: an argument out of range, or sizes that do not go together.

    Example:
        >>> bridle = Bridle.preset("audio-tiny").eval()
        >>> wave = torch.randn(2, 16000) / 10
        >>> bridle.features(wave).shape, bridle.pooled(wave).shape, bridle.tokens(wave).shape
        (torch.Size([2, 56, 128]), torch.Size([2, 128]), torch.Size([2, 56, 4]))
        >>> bridle.pooled(wave, over="time").shape  # 8 bands of 16 mel bands each
        torch.Size([2, 1024])

    References:
        "BRIDLE: generalized self-supervised learning with quantization" (2025), arXiv:2502.02118; Chen et al., "BEATs" (2023),
        arXiv:2212.09058.
    """

    saved_as = "bridle"

    def __init__(
        self,
        modality: Literal["audio", "image", "video"],
        size: Sequence[int],
        patch: Sequence[int],
        encoder: Stack,
        predictor: Stack,
        estimator: Stack,
        quantizer: Quantizer,
        *,
        channels: int = 1,
        windows: Sequence[int] | None = None,
        stem: int = 0,
        normalise: Literal["once", "each-stage", "none"] = "once",
        positions: Literal["grid", "transposed"] = "grid",
        cold_positions: bool = False,
        statistics: Sequence[float] | None = None,
        sample_rate: int = 16000,
    ) -> None:
        super().__init__()
        self.modality = modality
        self.grid = _grid(modality, size, patch, channels, stem)
        self.size, self.patch, self.channels, self.sample_rate = tuple(size), tuple(patch), channels, sample_rate
        if positions not in ("grid", "transposed"):
            raise ValueError(f"positions must be 'grid' or 'transposed', got {positions!r}")
        mean, std = statistics or _STATISTICS[modality]
        if not std > 0:
            raise ValueError(f"statistics must be a mean and a positive standard deviation, got {(mean, std)}")
        self.front: AudioFront | PixelFront = (
            AudioFront(sample_rate, size[1], patch[0], mean, std)
            if modality == "audio"
            else PixelFront(modality, (channels, *size), mean, std)
        )
        video = modality == "video"
        options: dict[str, Any] = {"video": video, "stem": stem, "order": positions}
        encoders = [Encoder(encoder, channels, patch, self.grid, **options) for _ in range(2)]
        self.encoder = encoders[0]
        codes = quantizer.code_sizes
        self.predictor = Predictor(predictor, encoder.width, self.grid, codes, video=video, windows=windows)
        self.tokenizer = Tokenizer(encoders[1], quantizer, normalise=normalise, cold_positions=cold_positions)
        self.estimator = Estimator(estimator, quantizer.dim, encoder.width, self.grid, video=video)

    @classmethod
    def preset(cls, name: str, quantizer: Quantizer | None = None, **options: Any) -> "Bridle":
        """A model of sizes that work, by name; options are further arguments of the constructor. See `vqkit.models.bridle.preset`."""
        return cls(**preset_arguments(name, quantizer, options))

    @property
    def quantizer(self) -> Quantizer:
        """The tokenizer's quantizer, with the normalisation before it."""
        return self.tokenizer.quantizer

    @property
    def width(self) -> int:
        """Length of a feature."""
        return self.encoder.stack.width

    @property
    def places(self) -> int:
        """Patches of the longest signal."""
        return len(self.encoder.positions.value)

    # --- what users call

    @torch.no_grad()
    def features(
        self, x: Float[Tensor, "batch *signal"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch tokens width"]:
        """Features of every patch.

        Args:
            x: sound in about −1 … 1, (batch, samples) or (batch, 1, samples), at `sample_rate`; images (batch, channels, height, width)
                or video (batch, channels, frames, height, width) in 0 … 1. Sound longer than the model's size is taken part by part.
            lengths: samples of each sound, where some are padded at their end; features behind an end are 0.

        Raises:
            TypeError: lengths are not one integer a sound.
            ValueError: another shape or size, sound shorter than a patch, a length beyond its end, NaN, Inf, or a scale far from that
                above.
        """
        return self._features(self._checked(x, lengths))

    def _checked(self, x: Tensor, lengths: Tensor | None) -> Patches:
        """Signals as patches, once their values are such as the model takes; training spares the pass over them."""
        cut = self.cut(x, lengths)
        if self.modality != "audio":
            check_image_scale(self.modality, x)
            return cut
        wave = x.reshape(len(x), 1, -1)
        check_wav_scale("sound", wave if lengths is None else silence_end(wave, lengths.to(x.device, torch.long)))
        return cut

    def _features(self, cut: Patches) -> Tensor:
        parts = [self.encoder(part.values, real=part.real) for part in self.parts(cut)]
        found = torch.cat(parts, dim=1)
        return found if cut.real is None else torch.where(cut.real[..., None], found, 0.0)

    @torch.no_grad()
    def pooled(
        self,
        x: Float[Tensor, "batch *signal"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        over: Literal["all", "time"] = "all",
    ) -> Float[Tensor, "batch pooled"]:
        """One vector for each signal: the mean of its `features`.

        Args:
            x: signals, as in `features`.
            lengths: samples of each sound, where some are padded.
            over: patches that the mean is taken over: ``"all"``, which is published and gives (batch, width); or ``"time"``, which keeps
                the bands of sound, and the places of images and of a video's frames, apart: (batch, bands or places · width). Where a
                sound lies in frequency is most of what a mean over all patches loses.

        Raises:
            ValueError: as in `features`, or another ``over``.
        """
        if over not in ("all", "time"):
            raise ValueError(f"over must be 'all' or 'time', got {over!r}")
        cut = self._checked(x, lengths)
        found = self._features(cut)
        times = 1 if self.modality == "image" else cut.grid[0]
        found = found.unflatten(1, (times, -1)) if over == "time" else found[:, :, None]
        if cut.real is None:
            return found.mean(dim=1).flatten(1)
        real = cut.real.reshape(found.shape[:3]).sum(dim=1)
        return (found.sum(dim=1) / real[..., None]).flatten(1)

    def tokens(
        self, x: Float[Tensor, "batch *signal"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Int[Tensor, "batch tokens num_codes"]:
        """Codes of every patch, of the trained tokenizer or, before there is one, of the cold start; −1 behind an end.

        Arguments and errors as in `features`.
        """
        parts = self.parts(self._checked(x, lengths))
        return torch.cat([self.tokenizer.codes(part.values, part.grid, part.real) for part in parts], 1)

    def to_transformers(self) -> Any:
        """The encoder as transformers' ``ViTModel`` or ``VideoMAEModel``, with the same outputs."""
        return handover.to_transformers(self)

    # --- what training calls

    def cut(self, x: Tensor, lengths: Tensor | None = None) -> Patches:
        """Signals as patches; sound may have more rows of them than the model's size."""
        if lengths is not None and self.modality != "audio":
            raise ValueError(f"lengths are for sound, got them with {self.modality}")
        pixels = self.front(x, lengths) if isinstance(self.front, AudioFront) else self.front(x)
        grid = tuple(size // step for size, step in zip(pixels.shape[2:], self.patch, strict=True))
        # spectra and pixels come in float32, while the encoder computes in the model's dtype, as those of other models do
        values = patchify(pixels, self.patch).to(home(self.encoder).dtype)
        if lengths is None or not isinstance(self.front, AudioFront):
            return Patches(values, grid)
        lengths = lengths.to(x.device, torch.long)
        if bool((lengths == x.shape[-1]).all()):
            return Patches(values, grid)
        rows = self.front.patch_rows(lengths)
        real = torch.arange(values.shape[1], device=x.device) < rows[:, None] * grid[1]
        return Patches(values, grid, real)

    def parts(self, cut: Patches) -> list[Patches]:
        """Long sound in parts of at most the model's size."""
        if cut.values.shape[1] <= self.places:
            return [cut]
        reals = None if cut.real is None else cut.real.split(self.places, dim=1)
        found = []
        for index, values in enumerate(cut.values.split(self.places, dim=1)):
            grid = (values.shape[1] // cut.grid[1], cut.grid[1])
            found.append(Patches(values, grid, None if reals is None else reals[index]))
        return found

    def mask(self, cut: Patches, ratio: float, items: int | None = None) -> Mask:
        """Places to hide in training: drawn one by one, in video as tubes.

        Args:
            cut: the signals.
            ratio: share of the places that is hidden.
            items: number of items to draw for; those of ``cut`` by default.
        """
        batch, places, _ = cut.values.shape
        batch = batch if items is None else items
        if self.modality == "video":
            return tube_mask(batch, cut.grid, ratio, cut.values.device)
        return random_mask(batch, places, ratio, cut.values.device)

    def silent(self, cut: Patches) -> Bool[Tensor, "batch places"] | None:
        """Mark patches of digital silence, in which there is nothing to predict; None for images and video."""
        if not isinstance(self.front, AudioFront):
            return None
        return cut.values.amax(dim=-1) <= self.front.silence + 1e-4  # in the model's dtype, which rounds both alike


def _grid(modality: str, size: Sequence[int], patch: Sequence[int], channels: int, stem: int) -> tuple[int, ...]:
    if modality not in _DIMS:
        raise ValueError(f"modality must be one of {', '.join(_DIMS)}, got {modality!r}")
    if len(size) != _DIMS[modality] or len(patch) != len(size):
        raise ValueError(
            f"{modality} has {_DIMS[modality]} sizes and as many of a patch, got {tuple(size)} and {tuple(patch)}"
        )
    if min(*size, *patch) < 1 or any(whole % step for whole, step in zip(size, patch, strict=True)):
        raise ValueError(f"size must be multiples of patch, got {tuple(size)} and {tuple(patch)}")
    if channels not in ((1,) if modality == "audio" else (1, 3)):
        raise ValueError(f"channels must be 1 for sound, 1 or 3 for images and video, got {channels}")
    if stem < 0:
        raise ValueError(f"stem must be at least 0, got {stem}")
    return tuple(whole // step for whole, step in zip(size, patch, strict=True))
