"""Result of a model's forward pass: the reconstructed signal, the latent and the quantizer's output."""

from dataclasses import dataclass

from torch import Tensor

from vqkit.types import Bool, Float, Quantized

__all__ = ["Reconstruction"]


@dataclass(frozen=True)
class Reconstruction:
    """Reconstructed signal with the latent and the quantizer's result behind it.

    Attributes:
        signal: waveforms ``(batch, channels, samples)``, with zeros after the end of each item, or images
            ``(batch, channels, height, width)``, not clamped; of the input's size.
        latent: input of the quantizer, ``(batch, *grid, dim)``.
        quantized: the quantizer's result, with codes ``(batch, *grid, num_codes)`` and losses; None where it took no part.
        mask: ``(batch, *grid)``, True where a position is real; None when all are.
    """

    signal: Float[Tensor, "batch channels *size"]
    latent: Float[Tensor, "batch *grid dim"]
    quantized: Quantized | None = None
    mask: Bool[Tensor, "batch *grid"] | None = None

    @property
    def codes(self) -> Tensor:
        """Codes ``(batch, *grid, num_codes)``.

        Raises:
            ValueError: the quantizer took no part.
        """
        if self.quantized is None:
            raise ValueError("there are no codes: the reconstruction was made without the quantizer")
        return self.quantized.codes

    @property
    def wav(self) -> Float[Tensor, "batch channels samples"]:
        """The signal of an audio codec."""
        return self.signal

    @property
    def images(self) -> Float[Tensor, "batch channels height width"]:
        """The signal of an image tokenizer."""
        return self.signal
