"""PSNR and SSIM of log-mel spectrograms, seen as pictures in [0, 1].

Conventions:
    A picture is the mel power in dB relative to full scale, with ``floor_db``…0 mapped to 0…1 and clamped. Full scale,
    0 dB, is a sine of amplitude 1 (STFT scaled by half the window's sum, filters of peak 1), a fixed reference: a clip
    that comes out too quiet is told apart from one that does not, and values of different clips compare.

Metrics:
    :class:`LogMelPSNR` in dB and :class:`LogMelSSIM`, higher is better.

References:
    Wang, Bovik, Sheikh & Simoncelli, Image quality assessment: from error visibility to structural similarity, 2004.
    The IVQ paper's table 1 reports PSNR and SSIM of audio without their definition; its ≈ 24 dB are not of waveforms.
"""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from vqkit.metrics.reconstruction import ReconstructionMetric
from vqkit.metrics.spectrum import full_scale, magnitudes, mel_filters, min_samples
from vqkit.types import Float, need

__all__ = ["LogMelPSNR", "LogMelSSIM"]

_PICTURE = (
    "log-mel pictures: centred Hann STFT, power relative to a sine of amplitude 1, Slaney-scale filters of peak 1, dB, "
    "floor_db…0 mapped to 0…1 and clamped"
)
_SSIM_KERNEL = 11


class _LogMelMetric(ReconstructionMetric):
    def __init__(
        self,
        sample_rate: int,
        num_mels: int = 128,
        window_samples: int = 2048,
        hop_samples: int = 512,
        floor_db: float = -80.0,
    ) -> None:
        super().__init__(sample_rate)
        for label, value in (("window_samples", window_samples), ("hop_samples", hop_samples)):
            if value < 1:
                raise ValueError(f"{label} must be positive, got {value}")
        if not floor_db < 0:
            raise ValueError(f"floor_db must be below 0 dB, got {floor_db}")
        self.window_samples, self.hop_samples, self.floor_db = window_samples, hop_samples, floor_db
        self._filters, self.num_mels = mel_filters(sample_rate, window_samples, num_mels, norm=None)

    @property
    def settings(self) -> dict[str, Any]:
        """Filters in use, window, hop and range."""
        return {
            "sample_rate": self.sample_rate,
            "num_mels": self.num_mels,
            "window_samples": self.window_samples,
            "hop_samples": self.hop_samples,
            "floor_db": self.floor_db,
        }

    @property
    def min_samples(self) -> int:
        """Shortest clip, in samples."""
        return min_samples(self.window_samples)

    def picture(self, waveform: Float[Tensor, "channels samples"]) -> Float[Tensor, "channels mels frames"]:
        """Log-mel spectrogram in [0, 1].

        Args:
            waveform: waveform, at least ``min_samples`` samples.

        Returns:
            0 at ``floor_db`` and below, 1 at full scale and above.
        """
        power = (magnitudes(waveform, self.window_samples, self.hop_samples) / full_scale(self.window_samples)).square()
        mel = self._filters.to(power) @ power
        floor = 10 ** (self.floor_db / 10)
        return 1 - (10 * mel.clamp(floor, 1.0).log10()) / self.floor_db

    def measure(
        self, estimate: Float[Tensor, "channels samples"], reference: Float[Tensor, "channels samples"]
    ) -> Float[Tensor, "channels"]:
        """Compare the pictures of each channel.

        Args:
            estimate: reconstructed waveform.
            reference: original waveform.

        Returns:
            One value per channel.
        """
        return self.compare(self.picture(estimate), self.picture(reference))

    @abstractmethod
    def compare(
        self, estimate: Float[Tensor, "channels mels frames"], reference: Float[Tensor, "channels mels frames"]
    ) -> Float[Tensor, "channels"]:
        """Compare two pictures.

        Args:
            estimate: estimate of the reconstruction.
            reference: reference of the original.

        Returns:
            One value per channel.
        """


class LogMelPSNR(_LogMelMetric):
    """Peak signal-to-noise ratio of log-mel spectrograms, in dB.

    Args:
        sample_rate: sample rate in Hz.
        num_mels: mel filters; the largest smaller number is taken where so many leave a filter without a frequency bin.
        window_samples: Hann window and transform.
        hop_samples: distance of the frames.
        floor_db: level mapped to 0, in dB relative to a sine of amplitude 1.
        cap_db: largest value in dB, that of a perfect reconstruction.

    Raises:
        ValueError: a parameter is out of range.

    Example:
        >>> import torch
        >>> psnr, reference = LogMelPSNR(24000), torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
        >>> psnr.update(0.01 * reference, 0.1 * reference)  # 20 dB of 80 dB: a quarter of the range everywhere
        >>> round(psnr.compute().item(), 2)  # 20·log10(4)
        12.04
    """

    name = "log_mel_psnr"
    unit = "dB"
    higher_is_better = True
    description = f"10·log10(1 / mean squared difference) of {_PICTURE}; at most cap_db; mean over channels, then clips"

    def __init__(
        self,
        sample_rate: int,
        num_mels: int = 128,
        window_samples: int = 2048,
        hop_samples: int = 512,
        floor_db: float = -80.0,
        cap_db: float = 100.0,
    ) -> None:
        super().__init__(sample_rate, num_mels, window_samples, hop_samples, floor_db)
        if not cap_db > 0:
            raise ValueError(f"cap_db must be positive, got {cap_db}")
        self.cap_db = cap_db

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the log-mel picture, and the cap."""
        return {**super().settings, "cap_db": self.cap_db}

    def compare(
        self, estimate: Float[Tensor, "channels mels frames"], reference: Float[Tensor, "channels mels frames"]
    ) -> Float[Tensor, "channels"]:
        """PSNR of each channel.

        Args:
            estimate: estimate of the reconstruction.
            reference: reference of the original.

        Returns:
            dB.
        """
        error = (estimate - reference).square().mean((-2, -1))
        return (-10 * error.log10()).clamp_max(self.cap_db)


class LogMelSSIM(_LogMelMetric):
    """Structural similarity of log-mel spectrograms: Gaussian window 11×11 with σ = 1.5, over data range 1.

    Args:
        sample_rate: sample rate in Hz.
        num_mels: mel filters; the largest smaller number is taken where so many leave a filter without a frequency bin.
        window_samples: Hann window and transform.
        hop_samples: distance of the frames.
        floor_db: level mapped to 0, in dB relative to a sine of amplitude 1.

    Raises:
        ValueError: a parameter is out of range.

    Example:
        >>> import torch
        >>> ssim, reference = LogMelSSIM(24000), torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
        >>> ssim.update(reference, reference)
        >>> ssim.compute()
        tensor(1.)
    """

    name = "log_mel_ssim"
    unit = ""
    higher_is_better = True
    description = (
        "structural similarity (Gaussian 11×11, σ 1.5, k1 0.01, k2 0.03, range 1, windows inside the picture) of "
        f"{_PICTURE}; mean over the picture, channels, then clips"
    )

    def __init__(
        self,
        sample_rate: int,
        num_mels: int = 128,
        window_samples: int = 2048,
        hop_samples: int = 512,
        floor_db: float = -80.0,
    ) -> None:
        super().__init__(sample_rate, num_mels, window_samples, hop_samples, floor_db)
        if self.num_mels < _SSIM_KERNEL:
            raise ValueError(f"{self.name} needs at least {_SSIM_KERNEL} mels, got {self.num_mels}")
        self._ssim = need("torchmetrics.functional.image", "eval").structural_similarity_index_measure

    @property
    def min_samples(self) -> int:
        """Shortest clip in samples: as many frames as the kernel is wide."""
        return max(super().min_samples, (_SSIM_KERNEL - 1) * self.hop_samples)

    def compare(
        self, estimate: Float[Tensor, "channels mels frames"], reference: Float[Tensor, "channels mels frames"]
    ) -> Float[Tensor, "channels"]:
        """SSIM of each channel.

        Args:
            estimate: estimate of the reconstruction.
            reference: reference of the original.

        Returns:
            In [−1, 1].
        """
        _, similarity = self._ssim(
            estimate.unsqueeze(1), reference.unsqueeze(1),  # one grey picture per channel: (channels, 1, mels, frames)
            data_range=1.0, sigma=1.5, kernel_size=_SSIM_KERNEL, k1=0.01, k2=0.03, return_full_image=True,
        )  # fmt: skip
        border = _SSIM_KERNEL // 2  # torchmetrics also averages windows that reach past the edges; the paper does not
        return similarity[:, 0, border:-border, border:-border].mean((-2, -1))
