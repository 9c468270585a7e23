"""Encoder and decoder of video: strided 3-D convolutions and residual blocks.

    video ─ conv 4×4×4/2 (× time), conv 1×4×4/(1, 2, 2) (× the rest) ─ conv 3×3×3 ─ residual blocks ─ conv 1×1×1 ─ z
    z_q ─ conv 3×3×3 ─ residual blocks ─ the same transposed ─ video

References:
    Yan et al., "VideoGPT" (2021), arXiv:2104.10157, section 3.1 (VQ-VAE of 3-D convolutions); Tong et al., "VideoMAE" (2022),
    arXiv:2203.12602 (tubelets).
"""

from itertools import pairwise

from torch import Tensor, nn

__all__ = ["video_decoder", "video_encoder"]


def video_encoder(
    dim: int,
    channels: int,
    width: int,
    residual_width: int,
    residual_blocks: int,
    downsamples: int,
    time_downsamples: int,
) -> nn.Sequential:
    """Video in −1 … 1 to latents, channels first.

    Args:
        dim: channels of the latent.
        channels: channels of the video.
        width: channels of the network.
        residual_width: channels within a residual block.
        residual_blocks: number of residual blocks.
        downsamples: how often height and width are halved.
        time_downsamples: how often the number of frames is halved, by the first convolutions.
    """
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(pairwise(_widths(channels, width, downsamples))):
        size, stride, padding = _strides(number < time_downsamples)
        layers += [nn.Conv3d(before, after, size, stride, padding), nn.ReLU()]
    layers.append(nn.Conv3d(width, width, 3, padding=1))
    layers += [_Residual(width, residual_width) for _ in range(residual_blocks)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv3d(width, dim, 1))


def video_decoder(
    dim: int,
    channels: int,
    width: int,
    residual_width: int,
    residual_blocks: int,
    downsamples: int,
    time_downsamples: int,
) -> nn.Sequential:
    """Latents to video in about −1 … 1; arguments as in `video_encoder`."""
    layers: list[nn.Module] = [nn.Conv3d(dim, width, 3, padding=1)]
    layers += [_Residual(width, residual_width) for _ in range(residual_blocks)]
    widths = list(enumerate(pairwise(_widths(channels, width, downsamples))))
    for number, (after, before) in reversed(widths):
        size, stride, padding = _strides(number < time_downsamples)
        layers += [nn.ReLU(), nn.ConvTranspose3d(before, after, size, stride, padding)]
    return nn.Sequential(*layers)


def _widths(channels: int, width: int, downsamples: int) -> list[int]:
    return [channels, *([max(1, width // 2)] if downsamples > 1 else []), *[width] * max(1, downsamples - 1)]


def _strides(of_time: bool) -> tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]:
    """Size, stride and padding of a convolution that halves height and width, and perhaps time."""
    return ((4, 4, 4), (2, 2, 2), (1, 1, 1)) if of_time else ((1, 4, 4), (1, 2, 2), (0, 1, 1))


class _Residual(nn.Module):
    """``x + conv 1×1×1(ReLU(conv 3×3×3(ReLU(x))))``."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv3d(width, inner, 3, padding=1), nn.ReLU(), nn.Conv3d(inner, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.layers(x)
        return x + inner
