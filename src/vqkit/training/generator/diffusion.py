"""Latent diffusion on the latents of a quantized autoencoder, in the house's phases.

    images ─ VQModel.encode, frozen ─ latents · scale ─ with noise of a random step ─ UNet ─ the noise again
    noise ─ UNet, step by step ─ latents / scale ─ VQModel.decode: quantizer, decoder ─ images

References:
    Rombach et al., "High-resolution image synthesis with latent diffusion models" (2022), arXiv:2112.10752, section 3.2 (the decoder takes
    the quantizer in); LooC, section 4.3; Ho et al., "Denoising diffusion probabilistic models" (2020), arXiv:2006.11239, eq. 14.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional

from vqkit.models.image.tokenizer import ImageTokenizer
from vqkit.models.peers.quantized_vq_model import QuantizedVQModel
from vqkit.ranks import mean_over_ranks, num_ranks
from vqkit.training.optimisation import Optimisation
from vqkit.training.phase import Phase
from vqkit.training.phased_module import PhasedModule, Split
from vqkit.types import Float, need

__all__ = ["DiffusionModule", "LatentDiffusion"]

_STEPS = 1000  # of the diffusion


class LatentDiffusion(nn.Module):
    """The three parts of diffusers' ``LDMPipeline``: a frozen VQModel with our quantizer, a UNet, and schedulers.

    Args:
        tokenizer: folder of an image tokenizer with a `VQGANBackbone`.
        size: side of the images, a multiple of the backbone's cell.
        widths: widths of the UNet's levels; all but the last one halve the latent's sides.
        blocks: layers of a level.
        norm_groups: groups of the norms; divides the widths.

    Raises:
        TypeError: the tokenizer has another backbone.
        ValueError: the size does not fit.
    """

    scale: Tensor

    def __init__(
        self, tokenizer: str, size: int, *, widths: Sequence[int] = (64, 128), blocks: int = 1, norm_groups: int = 16
    ) -> None:
        super().__init__()
        first = ImageTokenizer.from_pretrained(tokenizer)
        cell, halvings = first.backbone.cell, 2 ** (len(widths) - 1)
        if size < 1 or size % (cell * halvings):
            raise ValueError(
                f"size must be a multiple of {cell * halvings}, {cell} pixels a latent and {len(widths)} levels, got {size}"
            )
        self.channels = first.channels
        self.vqvae = QuantizedVQModel.from_tokenizer(first).requires_grad_(False)
        dim = first.backbone.dim
        self.unet = UNet2DModel(
            sample_size=size // cell,
            in_channels=dim,
            out_channels=dim,
            layers_per_block=blocks,
            block_out_channels=tuple(widths),
            norm_num_groups=norm_groups,
            down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * (len(widths) - 1)),
            up_block_types=(*["AttnUpBlock2D"] * (len(widths) - 1), "UpBlock2D"),
        )
        self.noising: Any = DDPMScheduler(num_train_timesteps=_STEPS, beta_schedule="scaled_linear")
        self.register_buffer("scale", torch.tensor(1.0))  # in the checkpoint: a resumed run must not measure it again

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the UNet; the VQModel stays as it is."""
        super().train(mode)
        self.vqvae.eval()
        return self

    @torch.no_grad()
    def latents(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch dim rows columns"]:
        """Scaled latents of images in [0, 1]."""
        found: Tensor = self.vqvae.encode(2 * images - 1).latents
        return found * self.scale

    def errors(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """Mean squared error of the noise that the UNet finds in noised latents, of each image."""
        latents = self.latents(images)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        steps = torch.randint(0, _STEPS, (len(images),), generator=generator).to(images.device)
        noised = self.noising.add_noise(latents, noise, steps)
        found = self.unet(noised, steps).sample
        return functional.mse_loss(found, noise, reduction="none").flatten(1).mean(dim=1)

    def pipeline(self) -> Any:
        """The parts as diffusers' pipeline, which shares their weights."""
        self.vqvae.register_to_config(scaling_factor=float(self.scale))
        # latents are not bounded to −1 … 1
        scheduler = DDIMScheduler(num_train_timesteps=_STEPS, beta_schedule="scaled_linear", clip_sample=False)
        return need("diffusers", "image").LDMPipeline(vqvae=self.vqvae, unet=self.unet, scheduler=scheduler)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a pipeline, which ``LDMPipeline.from_pretrained`` loads once `vqkit.models.QuantizedVQModel` is imported."""
        self.pipeline().save_pretrained(str(folder))


class DiffusionModule(PhasedModule):
    """Trains the UNet of a latent diffusion on images.

    Args:
        diffusion: what is trained; the run saves it to the folder ``pipeline``.
        optimisation: AdamW's settings and the schedule.
        phases: phases in order; by default one in which the UNet learns.
    """

    diffusion: LatentDiffusion

    def __init__(
        self,
        diffusion: LatentDiffusion,
        *,
        optimisation: Optimisation | None = None,
        phases: Sequence[Phase] | None = None,
    ) -> None:
        super().__init__((Phase(name="all"),) if phases is None else phases, optimisation or Optimisation())
        self.diffusion = diffusion

    def models(self) -> Mapping[str, Any]:
        """The pipeline."""
        return {"pipeline": self.diffusion}

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.diffusion.channels

    def networks(self) -> list[nn.Parameter]:
        """Parameters of the UNet."""
        return list(self.diffusion.unet.parameters())

    def quantizer_parameters(self) -> list[nn.Parameter]:
        """None: the VQModel is given."""
        return []

    def splits(self) -> list[Split]:
        """The UNet; the VQModel does not learn, and is whole on every rank."""
        return [Split(self.diffusion.unet)]

    def start(self, batch: Tensor) -> None:
        """Measure the spread of the latents, which diffusion takes at unit variance (section 4.3.2 and D.1 of the LDM paper)."""
        latents = self.diffusion.latents(batch)
        mean = mean_over_ranks(latents.mean())
        count = latents.numel() * num_ranks()
        spread = (mean_over_ranks((latents - mean).square().mean()) * count / max(1, count - 1)).sqrt()
        self.diffusion.scale.copy_(self.diffusion.scale / spread.clamp_min(1e-6))

    def learn(self, batch: Tensor, step: int, phase: Phase) -> None:
        """One step."""
        loss = self.diffusion.errors(batch).mean()
        norm = self.descend(loss, self.networks(), step)
        self.log("train/noise_error", loss, prog_bar=True)
        self.log("train/gradient_norm", norm)

    # --- validation

    def on_validation_epoch_start(self) -> None:
        """Forget the items of the last validation."""
        self._valid_sums = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Measure a batch of images, each validation with the same noise."""
        images, counted = batch
        errors = self.diffusion.errors(images, torch.Generator().manual_seed(batch_idx))[counted]
        self._valid_sums += torch.stack([errors.sum(), counted.sum()]).to(self._valid_sums)

    def on_validation_epoch_end(self) -> None:
        """Mean over the images of all ranks."""
        errors, images = self.trainer.strategy.reduce(self._valid_sums, reduce_op="sum")
        self.log("valid/noise_error", errors / images.clamp_min(1), prog_bar=True)
