"""Front ends: they turn waveforms, images and video into the arrays that the encoder cuts into patches."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.data.audio.fbank import KaldiFilterbank
from vqkit.types import Float, Int

__all__ = ["AudioFront", "PixelFront"]


class AudioFront(nn.Module):
    """Waveforms → log-mel spectrograms, normalised: (x − mean) / (2·std).

    Args:
        sample_rate: sample rate of the waveforms, in Hz.
        mels: bands of the filterbank.
        rows: frames of a patch.
        mean: mean of the log energies.
        std: standard deviation of the log energies.

    References:
        BRIDLE, appendix A; Gong et al., "AST" (2021), arXiv:2104.01778, section 2 (normalisation).
    """

    def __init__(self, sample_rate: int, mels: int, rows: int, mean: float, std: float) -> None:
        super().__init__()
        self.filterbank = KaldiFilterbank(sample_rate, mels)
        self.rows, self.mean, self.std = rows, mean, std

    @property
    def silence(self) -> float:
        """Value of a band of digital silence."""
        return (self.filterbank.floor - self.mean) / (2 * self.std)

    @property
    def shortest_samples(self) -> int:
        """Samples of the shortest clip, which fills one patch."""
        return self.filterbank.window_samples + (self.rows - 1) * self.filterbank.hop_samples

    def forward(
        self, wave: Tensor, lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch 1 frames mels"]:
        """Spectrograms in float32 whose number of frames is a multiple of a patch's; what is missing of the last patch is silence.

        Args:
            wave: (batch, samples) or (batch, 1, samples).
            lengths: samples of each clip; what stands behind its end has no influence.

        Raises:
            TypeError: lengths are not one integer a clip.
            ValueError: another shape, a clip shorter than a patch, or a length beyond the sound's end.
        """
        if wave.ndim == 3 and wave.shape[1] == 1:
            wave = wave[:, 0]
        if wave.ndim != 2 or not wave.is_floating_point():
            raise ValueError(
                f"sound must be floating and of shape (batch, samples) or (batch, 1, samples), got {wave.dtype} {tuple(wave.shape)}"
            )
        if wave.shape[1] < self.shortest_samples:
            rate = self.filterbank.sample_rate
            raise ValueError(
                f"a clip of {wave.shape[1] / rate:.3f} s is shorter than a patch, {self.shortest_samples / rate:.3f} s"
            )
        wave = wave.float()  # whatever the model computes in: log energies near silence need its digits
        if lengths is not None:
            lengths = self._checked(lengths, wave).to(wave.device, torch.long)
            real = torch.arange(wave.shape[1], device=wave.device) < lengths[:, None]
            wave = torch.where(real, wave, 0.0)  # a product would let NaN behind an end through
            mean = wave.sum(1, keepdim=True) / lengths[:, None]
            wave = (wave - mean) * real  # the filterbank would remove the mean of clip and padding
        spectra = (self.filterbank(wave) - self.mean) / (2 * self.std)
        if lengths is not None:
            behind = torch.arange(spectra.shape[1], device=wave.device) >= self._frames(lengths)[:, None]
            spectra = spectra.masked_fill(behind[..., None], self.silence)
        missing = -spectra.shape[1] % self.rows
        return F.pad(spectra, (0, 0, 0, missing), value=self.silence)[:, None]

    def _checked(self, lengths: Tensor, wave: Float[Tensor, "batch samples"]) -> Tensor:
        if not isinstance(lengths, Tensor):
            raise TypeError(f"lengths must be a tensor of {len(wave)} integers, got {type(lengths).__name__}")
        whole = not (lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool)
        if not whole or lengths.shape != wave.shape[:1]:
            shape = tuple(lengths.shape)
            raise TypeError(f"lengths must be {len(wave)} integers, got {lengths.dtype} of shape {shape}")
        found = lengths.tolist()
        if any(not self.shortest_samples <= length <= wave.shape[1] for length in found):
            raise ValueError(
                f"lengths must be in {self.shortest_samples} … {wave.shape[1]} samples, from a patch to the whole sound, got {found}"
            )
        return lengths

    def patch_rows(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Return the number of rows of patches, at least one, of clips with these numbers of samples."""
        return torch.div(self._frames(lengths) + self.rows - 1, self.rows, rounding_mode="floor").clamp_min(1)

    def _frames(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        hop, window = self.filterbank.hop_samples, self.filterbank.window_samples
        return 1 + torch.div(lengths - window, hop, rounding_mode="floor")


class PixelFront(nn.Module):
    """Images or video in [0, 1] → (x − mean) / std.

    Args:
        kind: ``"image"`` or ``"video"``, for messages.
        shape: (channels, *size) of a signal.
        mean: mean of the pixels.
        std: standard deviation of the pixels.
    """

    def __init__(self, kind: Literal["image", "video"], shape: Sequence[int], mean: float, std: float) -> None:
        super().__init__()
        self.kind, self.shape, self.mean, self.std = kind, tuple(shape), mean, std

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels, in float32 at least.

        Raises:
            ValueError: another shape, or whole numbers.
        """
        if tuple(pixels.shape[1:]) != self.shape or not pixels.is_floating_point():
            names = "channels, height, width" if self.kind == "image" else "channels, frames, height, width"
            raise ValueError(
                f"{self.kind} must be floating in 0 … 1 and of shape (batch, {names}) = (batch, {', '.join(map(str, self.shape))}), "
                f"got {pixels.dtype} {tuple(pixels.shape)}"
            )
        pixels = pixels.to(torch.promote_types(pixels.dtype, torch.float32))
        return (pixels - self.mean) / self.std
