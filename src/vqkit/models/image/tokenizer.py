"""Images to codes and back.

images (batch, channels, height, width)
 └─ backbone.encode ─ z (batch, *grid, dim) ─ quantizer ─ codes (batch, num_codes, *grid)
                                                └─ z_q ─ backbone.decode ─ images
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from vqkit.modality import IMAGE
from vqkit.models.image import compression, to_size
from vqkit.models.image.backbone import ImageBackbone, read_backbone
from vqkit.models.input_checks import check_images, home
from vqkit.models.reconstruction import Reconstruction
from vqkit.models.tokenizer import Tokenizer
from vqkit.models.vqk_files import CodedSignal
from vqkit.quantize import Quantizer
from vqkit.quantize.pretrained import expression
from vqkit.scale import check_image_scale
from vqkit.types import Float, Int, need

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vq_model import VQModel

__all__ = ["DRAWN", "SHIPPED", "ImageTokenizer", "TokenizerOutput"]

SHIPPED = Path(__file__).parents[1] / "weights" / "vqkit-image-2"
"""The image tokenizer that ships with vqkit; ``MODEL_CARD.md`` in it says what it is, and what it was trained on."""

DRAWN = SHIPPED.with_name("vqkit-image-drawn")
"""The one for text, lines and diagrams."""


TokenizerOutput = Reconstruction
"""The name that `Reconstruction` had here."""


class ImageTokenizer(Tokenizer, coders={ImageBackbone: (expression, read_backbone)}):
    """A backbone with a quantizer in its middle.

    Images are float in [0, 1]; images and codes move to the backbone's device, and images to its dtype. Sides that are no multiples of
    the backbone's `cell` are continued by their last row and column, and cut off again.

    Args:
        backbone: `ConvBackbone`, `VQGANBackbone`, `ViTBackbone`, `TransformBackbone`, or another `ImageBackbone`.
        quantizer: quantizer of the backbone's latents.

    Raises:
        ValueError: backbone and quantizer have different dims.

    Example:
        >>> from vqkit import LooC
        >>> from vqkit.models import ConvBackbone, ImageTokenizer
        >>> tokenizer = ImageTokenizer(ConvBackbone(dim=32, width=32), LooC(dim=32, codebook_size=16, code_dim=4)).eval()
        >>> codes = tokenizer.encode(torch.rand(1, 3, 30, 64))
        >>> codes.shape, tokenizer.decode(codes, size=(30, 64)).shape
        (torch.Size([1, 8, 8, 16]), torch.Size([1, 3, 30, 64]))

    References:
        LooC, section 3; IVQ, section 4.4.
    """

    modality = IMAGE
    saved_as = "tokenizer"

    def __init__(self, backbone: ImageBackbone, quantizer: Quantizer) -> None:
        super().__init__()
        if backbone.dim != quantizer.dim:
            raise ValueError(f"the backbone's latents have dim {backbone.dim}, the quantizer has {quantizer.dim}")
        self.backbone, self.quantizer = backbone, quantizer
        self.initialized: Tensor
        self.register_buffer("initialized", torch.tensor(False))

    @classmethod
    def from_pretrained(cls, name: str | Path | None = None, **options: Any) -> Self:  # type: ignore[override]
        """Read what ``save_pretrained`` wrote; the model comes in evaluation mode.

        Args:
            name: a folder, the name of a tokenizer that ships with vqkit, such as ``"vqkit-image"``, or that of a repository on the hub;
                by default ``"vqkit-image-2"``.
            options: ``revision``, ``cache_dir``, ``token`` and ``local_files_only``, as in `HubModel.from_pretrained`.

        Returns:
            The model, with its prior if it has one.

        Raises:
            ValueError: not such a folder or repository, or weights that do not fit the config.
        """
        shipped = {path.name: path for path in SHIPPED.parent.iterdir()}
        return super().from_pretrained(SHIPPED if name is None else shipped.get(str(name), name), **options)

    @classmethod
    def from_diffusers(cls, model: "VQModel", quantizer: Quantizer | None = None) -> Self:
        """A copy of a diffusers VQModel, its codebook included, or with another quantizer for its latents.

        Args:
            model: its weights are copied; images go in and come out in [0, 1] instead of [−1, 1].
            quantizer: quantizer of ``config.vq_embed_dim``; the model's own by default, see
                `vqkit.models.peers.diffusers_quantizer.quantizer_of`.

        Returns:
            The tokenizer in evaluation mode; errors as in `VQGANBackbone.from_diffusers` and `ImageTokenizer`.
        """
        need("diffusers", "image")
        from vqkit.models.image.vqgan_backbone import VQGANBackbone
        from vqkit.models.peers.diffusers_quantizer import quantizer_of

        tokenizer = cls(VQGANBackbone.from_diffusers(model), quantizer or quantizer_of(model)).to(model.device)
        tokenizer.initialized.fill_(True)
        return tokenizer.eval()

    @property
    def last_layer(self) -> Tensor:
        """Weight of the decoder's last layer, for VQGAN's adaptive adversarial weight."""
        return self.backbone.last_layer

    # --- sizes and rates

    @property
    def channels(self) -> int:  # type: ignore[override]
        """Channels of the images."""
        return self.backbone.channels

    def grid(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of the codes of an image, without batch and num_codes."""
        cell = self.backbone.cell
        return self.backbone.grid(-(-height // cell) * cell, -(-width // cell) * cell)

    def vectors_per_unit(self, *size: int) -> float:
        """Latent vectors a pixel, of an image of (height, width)."""
        height, width = size
        return math.prod(self.grid(height, width)) / (height * width)

    def stage_bits(self, height: int, width: int) -> tuple[float, ...]:
        """Bits of an image with the first stage, with the first two and so on, before entropy coding."""
        return tuple(math.prod(self.grid(height, width)) * bits for bits in self.quantizer.stage_bits)

    # --- coding

    def synthesize(
        self, z: Float[Tensor, "batch *grid dim"], size: tuple[int, int] | None = None, *, gradient: bool = False
    ) -> Float[Tensor, "batch channels height width"]:
        """The images of latents, clamped to [0, 1]; ``size`` and errors as in `decode`, ``gradient`` as in `Tokenizer.synthesize`."""
        return super().synthesize(z, size, gradient=gradient)

    @torch.no_grad()
    def encode(
        self,
        images: Float[Tensor, "batch channels height width"],
        bpp: float | None = None,
        *,
        rate_weight: float | None = None,
    ) -> Int[Tensor, "batch num_codes *grid"]:
        """Codes of images.

        Args:
            images: images in [0, 1].
            bpp: keep as many stages as fit into so many bits a pixel, before entropy coding; all by default.
            rate_weight: λ of error + λ·bits, with the squared error of a latent vector: every cell keeps only the stages that are worth
                their bits, and its later codes are −1, see `Quantizer.encode`; with bpp at most as many as fit. Where the quantizer has
                `rate_weights`, it takes the step of the nearest.

        Returns:
            int64 codes; the first stages come first.

        Raises:
            TypeError: images are not floating.
            ValueError: as in `forward`, NaN, Inf or pixels far outside 0 … 1, or bpp is below the first stage.
        """
        check_images(images, self.channels)
        check_image_scale("images", images)
        stages = None if bpp is None else self.stages_within(bpp, *images.shape[-2:])
        return self._encoded(images, None, stages, rate_weight)

    @torch.no_grad()
    def decode(
        self, codes: Int[Tensor, "batch num_codes *grid"], size: tuple[int, int] | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """Images of codes.

        Args:
            codes: codes of all stages or of the first ones.
            size: (height, width) of the result, at most what the grid holds; all of it by default.

        Returns:
            Images in [0, 1].

        Raises:
            TypeError: codes are not integers.
            ValueError: codes of the wrong shape or out of range, or a size beyond the grid.
        """
        dims = 2 + len(self.grid(self.backbone.cell, self.backbone.cell))
        if codes.ndim != dims or 0 in codes.shape:
            wanted = ", ".join(["batch", "num_codes", *(["rows", "columns"] if dims == 4 else ["tokens"])])
            raise ValueError(f"codes must be ({wanted}), got shape {tuple(codes.shape)}")
        if self.backbone.image_size is not None and codes.shape[2:] != self.grid(*self.backbone.image_size):
            raise ValueError(
                f"codes must have {self.grid(*self.backbone.image_size)} places, got {tuple(codes.shape[2:])}"
            )
        return self._decoded(codes.to(home(self.backbone).device), size)

    # --- files

    def coded(self, image: Float[Tensor, "channels height width"], *, rate_weight: float | None = None) -> CodedSignal:
        """The codes of one image of any size and the tokenizer's channels, as its file holds them.

        Args:
            image: an image in [0, 1].
            rate_weight: λ of a quantizer with `rate_weights`; errors as in `compress`.
        """
        return compression.coded(self, image, rate_weight)

    def compress(
        self,
        image: Float[Tensor, "channels height width"],
        bpp: float | None = None,
        plain: bool = False,
        *,
        rate_weight: float | None = None,
    ) -> bytes:
        """An image of any size as a ``.vqk`` file, in tiles, so that memory does not grow with the networks' layers.

        Args:
            image: an image in [0, 1], on any device; RGB is made gray for a gray tokenizer (BT.601 luma), and gray RGB.
            bpp: the best file of so many bits a pixel: with the finest step of the quantizer that fits, or else as many stages.
            plain: plain bits although there is a `prior`.
            rate_weight: λ; every cell keeps only the stages that are worth their bits, as in `encode`, and the file is of format
                version 3; or the step of this λ.

        Returns:
            The bytes of the file.

        Raises:
            TypeError: the image is not floating.
            ValueError: the shape is wrong, NaN, Inf or a pixel far outside 0 … 1, the backbone does not take such an image, or not even
                one stage fits.
        """
        return to_size.compress(self, image, bpp, plain, rate_weight)

    def decompress(self, data: bytes) -> Float[Tensor, "channels height width"]:
        """The image of a ``.vqk`` file; what is damaged or cut off is gray, with a warning.

        Args:
            data: the bytes of the file.

        Returns:
            The image in [0, 1], float32 on the CPU.

        Raises:
            BitstreamError: not a vqk file, of a newer version, its header damaged, or written with other weights.
            ValueError: the file promises more than 64 megapixels.
        """
        return compression.decompress(self, data)

    # --- training's start

    @property
    def rotatable(self) -> bool:
        """Whether `rotate_latent` can rotate the latent: the backbone names the linear layers around it."""
        return all(self.backbone.latent_layers)

    def rotate_latent(self, rotation: Float[Tensor, "dim dim"]) -> None:
        """Make the latent ``z @ rotation``, see `ImageBackbone.rotate_latent`."""
        self.backbone.rotate_latent(rotation)

    def initialize(self, images: Float[Tensor, "batch channels height width"]) -> None:
        """Fit what can be fitted to a first training batch without gradients; training calls it unless `initialized` is set.

        Raises:
            ValueError: as in `forward`, or the batch is of one colour.
        """
        self.backbone.initialize(self._whole_cells(images))
        self.initialized.fill_(True)

    # --- inside

    def _analyzed(self, signal: Tensor, lengths: Tensor | None) -> tuple[Tensor, None]:
        if lengths is not None:
            raise ValueError("images have no lengths: those of one batch are of one size")
        return self.backbone.encode(self._whole_cells(signal)), None

    def _synthesized(self, z: Float[Tensor, "batch *grid dim"], mask: Tensor | None) -> Tensor:
        return self.backbone.decode(z.to(home(self.backbone)))

    def _finished(self, signal: Tensor) -> Tensor:
        return signal.clamp(0, 1)

    def _whole_cells(self, images: Tensor) -> Tensor:
        check_images(images, self.channels)
        images = images.to(home(self.backbone))
        size, cell = tuple(images.shape[-2:]), self.backbone.cell
        if self.backbone.image_size is not None and size != self.backbone.image_size:
            raise ValueError(f"this backbone takes images of {self.backbone.image_size} pixels only, got {size}")
        missing = [-side % cell for side in size]
        return functional.pad(images, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else images

    def _cut(self, signal: Tensor, size: tuple[int, ...] | None) -> Tensor:
        if size is None:
            return signal
        if len(size) != 2 or not all(1 <= s <= most for s, most in zip(size, signal.shape[-2:], strict=True)):
            raise ValueError(f"size must be within (1, 1) … {tuple(signal.shape[-2:])}, got {tuple(size)}")
        return signal[..., : size[0], : size[1]]
