"""Video to codes and back.

video (batch, channels, frames, height, width)
 └─ encoder ─ z (batch, times, rows, columns, dim) ─ quantizer ─ codes (batch, num_codes, times, rows, columns)
                                                        └─ z_q ─ decoder ─ video
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.modality import VIDEO
from vqkit.models.input_checks import check_videos, home
from vqkit.models.layout import channels_first
from vqkit.models.tokenizer import Tokenizer
from vqkit.models.video import compression
from vqkit.models.video.networks import video_decoder, video_encoder
from vqkit.models.vqk_files import CodedSignal
from vqkit.nn import scale_convolutions
from vqkit.nn.turned_layers import check_rotation, turn_inputs, turn_outputs
from vqkit.quantize import Quantizer
from vqkit.ranks import mean_over_ranks
from vqkit.scale import check_image_scale
from vqkit.types import Float, Int

__all__ = ["VideoTokenizer"]


class VideoTokenizer(Tokenizer):
    """A small VQ-VAE of 3-D convolutions: every latent vector stands for a tubelet, some frames of some pixels.

    Videos are float in [0, 1]; videos and codes move to the networks' device, and videos to their dtype. Sizes that are no multiples of a
    tubelet's are continued by their last frame, row and column, and cut off again. A clip is coded as a whole: cut long films into clips.

    Args:
        quantizer: quantizer of the latent, which is a volume: `Interpolated` and `LooC` take ``spatial_dims=3``.
        channels: channels of the video, 1 or 3.
        width: channels of the networks.
        residual_width: channels within a residual block.
        residual_blocks: number of residual blocks on either side.
        downsamples: how often height and width are halved; a tubelet has 2^downsamples pixels each way.
        time_downsamples: how often the number of frames is halved, at most ``downsamples``; a tubelet has 2^time_downsamples frames.
        frame_rate: frames a second that rates in kbit/s are of, where no other is given.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> from vqkit import LooC
        >>> tokenizer = VideoTokenizer(LooC(dim=16, codebook_size=16, code_dim=4, spatial_dims=3), width=16).eval()
        >>> codes = tokenizer.encode(torch.rand(1, 3, 7, 16, 24))
        >>> codes.shape, tokenizer.decode(codes, size=(7, 16, 24)).shape
        (torch.Size([1, 32, 4, 4, 6]), torch.Size([1, 3, 7, 16, 24]))

    References:
        Yan et al., "VideoGPT" (2021), arXiv:2104.10157, section 3.1.
    """

    modality = VIDEO
    saved_as = "tokenizer"

    def __init__(
        self,
        quantizer: Quantizer,
        *,
        channels: int = 3,
        width: int = 64,
        residual_width: int = 32,
        residual_blocks: int = 2,
        downsamples: int = 2,
        time_downsamples: int = 1,
        frame_rate: float = 25.0,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if min(residual_width, downsamples) < 1 or downsamples > 8 or residual_blocks < 0 or width < 2:
            raise ValueError(
                "residual_width must be at least 1, downsamples 1 … 8, width at least 2 and residual_blocks at least 0, got "
                f"{residual_width}, {downsamples}, {width} and {residual_blocks}"
            )
        if not 0 <= time_downsamples <= downsamples:
            raise ValueError(f"time_downsamples must be 0 … {downsamples}, got {time_downsamples}")
        if not 0.001 <= frame_rate <= 1000:
            raise ValueError(f"frame_rate must be 0.001 … 1000, got {frame_rate}")
        self.channels, self.frame_rate = channels, frame_rate
        self.tubelet = (2**time_downsamples, 2**downsamples, 2**downsamples)
        sizes = (quantizer.dim, channels, width, residual_width, residual_blocks, downsamples, time_downsamples)
        self.encoder, self.quantizer, self.decoder = video_encoder(*sizes), quantizer, video_decoder(*sizes)
        self.initialized: Tensor
        self.register_buffer("initialized", torch.tensor(False))

    @property
    def last_layer(self) -> Tensor:
        """Weight of the last transposed convolution."""
        weight: Tensor = self.decoder[-1].weight  # type: ignore[assignment]
        return weight

    # --- sizes and rates

    def grid(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Shape of the codes of a video, without batch and num_codes."""
        times, rows, columns = (
            -(-size // step) for size, step in zip((frames, height, width), self.tubelet, strict=True)
        )
        return times, rows, columns

    def vectors_per_unit(self, *size: int) -> float:
        """Latent vectors a millisecond at `frame_rate`, of a video of (height, width)."""
        height, width = size
        return math.prod(self.grid(self.tubelet[0], height, width)) * self.frame_rate / self.tubelet[0] / 1000

    # --- coding

    @torch.no_grad()
    def encode(
        self,
        video: Float[Tensor, "batch channels frames height width"],
        kbps: float | None = None,
        *,
        rate_weight: float | None = None,
    ) -> Int[Tensor, "batch num_codes times rows columns"]:
        """Codes of videos.

        Args:
            video: videos in [0, 1].
            kbps: keep as many stages as fit into so many kbit/s at `frame_rate`, before entropy coding; all by default.
            rate_weight: λ of error + λ·bits, with the squared error of a latent vector: every cell keeps only the stages that are worth
                their bits, and its later codes are −1, see `Quantizer.encode`; with kbps at most as many as fit.

        Returns:
            int64 codes; the first stages come first.

        Raises:
            TypeError: the video is not floating.
            ValueError: as in `forward`, NaN, Inf or pixels far outside 0 … 1, or kbps is below the first stage.
        """
        check_videos(video, self.channels)
        check_image_scale("video", video)
        stages = None if kbps is None else self.stages_within(kbps, *video.shape[-2:])
        return self._encoded(video, None, stages, rate_weight)

    @torch.no_grad()
    def decode(
        self, codes: Int[Tensor, "batch num_codes times rows columns"], size: tuple[int, int, int] | None = None
    ) -> Float[Tensor, "batch channels frames height width"]:
        """Videos of codes.

        Args:
            codes: codes of all stages or of the first ones.
            size: (frames, height, width) of the result, at most what the codes hold; all of it by default.

        Returns:
            Videos in [0, 1].

        Raises:
            TypeError: codes are not integers.
            ValueError: codes of the wrong shape or out of range, or a size beyond the codes'.
        """
        if codes.ndim != 5 or 0 in codes.shape:
            raise ValueError(f"codes must be (batch, num_codes, times, rows, columns), got shape {tuple(codes.shape)}")
        return self._decoded(codes.to(home(self.encoder).device), size)

    # --- files

    def coded(self, video: Float[Tensor, "channels frames height width"]) -> CodedSignal:
        """The codes of one video, as its file holds them; errors as in `encode`."""
        return compression.coded(self, video)

    def compress(
        self,
        video: Float[Tensor, "channels frames height width"],
        frame_rate: float | None = None,
        kbps: float | None = None,
        plain: bool = False,
        *,
        rate_weight: float | None = None,
    ) -> bytes:
        """A video as a ``.vqk`` file.

        Args:
            video: a video in [0, 1].
            frame_rate: its frames a second, to a thousandth; the model's `frame_rate` by default.
            kbps: keep as many stages as fit into so many kbit/s at this rate, before entropy coding; all by default.
            plain: plain bits although there is a `prior`.
            rate_weight: λ; every cell keeps only the stages that are worth their bits, as in `encode`, and the file is of format
                version 3.

        Returns:
            The bytes of the file.

        Raises:
            TypeError: the video is not floating.
            ValueError: the shape is wrong, NaN, Inf or a pixel far outside 0 … 1, or not even one stage fits.
        """
        return compression.compress(self, video, frame_rate, kbps, plain, rate_weight)

    def decompress(self, data: bytes) -> tuple[Float[Tensor, "channels frames height width"], float]:
        """The video of a ``.vqk`` file and its frames a second; what is damaged or cut off is gray, with a warning.

        Args:
            data: the bytes of the file.

        Returns:
            The video in [0, 1], float32 on the CPU, and the frame rate.

        Raises:
            BitstreamError: not a vqk file, of a newer version, its header damaged, written with other weights, or no video.
            ValueError: the file promises more than 256 megapixels in all frames.
        """
        return compression.decompress(self, data)

    # --- training's start

    @property
    def rotatable(self) -> bool:
        """Whether `rotate_latent` can rotate the latent; always for this tokenizer."""
        return True

    def rotate_latent(self, rotation: Float[Tensor, "dim dim"]) -> None:
        """Make the latent ``z @ rotation``, and let the decoder turn it back: what the tokenizer does without quantizer stays the same.

        Args:
            rotation: orthonormal, such as `vqkit.nn.balanced_rotation` gives.

        Raises:
            ValueError: another shape, or not orthonormal.
        """
        check_rotation(rotation, self.quantizer.dim)
        turn_outputs(self.encoder[-1], rotation)
        turn_inputs(self.decoder[0], rotation)

    def initialize(self, video: Float[Tensor, "batch channels frames height width"]) -> None:
        """Scale every convolution so that its output on this batch has standard deviation one.

        Raises:
            ValueError: as in `forward`, or the batch is of one colour.
        """
        whole = self._whole_tubelets(video)
        scale_convolutions(self, lambda: self.decoder(self.encoder(2 * whole - 1)), mean_over_ranks)
        with torch.no_grad():  # pictures, not noise of deviation one
            self.last_layer.mul_(0.5)
        self.initialized.fill_(True)

    # --- inside

    def _analyzed(self, signal: Tensor, lengths: Tensor | None) -> tuple[Tensor, None]:
        if lengths is not None:
            raise ValueError("videos have no lengths: those of one batch are of one size")
        latent: Tensor = self.encoder(2 * self._whole_tubelets(signal) - 1)
        return latent.movedim(1, -1), None

    def _synthesized(self, z: Float[Tensor, "batch times rows columns dim"], mask: Tensor | None) -> Tensor:
        made: Tensor = self.decoder(channels_first(z.to(home(self.encoder))))
        return (made + 1) / 2

    def _finished(self, signal: Tensor) -> Tensor:
        return signal.clamp(0, 1)

    def _whole_tubelets(self, video: Tensor) -> Tensor:
        check_videos(video, self.channels)
        video = video.to(home(self.encoder))
        missing = [-size % step for size, step in zip(video.shape[2:], self.tubelet, strict=True)]
        padding = (0, missing[2], 0, missing[1], 0, missing[0])
        return functional.pad(video, padding, mode="replicate") if any(missing) else video

    def _cut(self, signal: Tensor, size: Any) -> Tensor:
        if size is None:
            return signal
        if len(size) != 3 or not all(1 <= s <= most for s, most in zip(size, signal.shape[-3:], strict=True)):
            raise ValueError(f"size must be within (1, 1, 1) … {tuple(signal.shape[-3:])}, got {tuple(size)}")
        return signal[..., : size[0], : size[1], : size[2]]
