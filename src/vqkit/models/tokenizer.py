"""The base of everything that has codes, whatever the signal is.

    signal (batch, channels, *size)
     └─ networks ─ z (batch, *grid, dim) ─ quantizer ─ codes (batch, num_codes, *grid)
                                              └─ z_q ─ networks ─ signal

A subclass says how a signal becomes a latent and how a latent becomes a signal. What follows from it stands here once: reconstruction with
and without the quantizer, codes, rates, the entropy model beside the weights, and what training asks of a model.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vqkit.bitstream import EntropyModel
from vqkit.modality import Modality
from vqkit.models.hub import HubModel
from vqkit.models.prior_file import PRIOR_FILE, read_prior, save_prior
from vqkit.models.reconstruction import Reconstruction
from vqkit.models.vqk_files import CodedSignal
from vqkit.quantize import Quantizer
from vqkit.stages import stages_within
from vqkit.types import Bool, Float, Int

__all__ = ["Tokenizer"]


class Tokenizer(HubModel, ABC):
    """A model with a quantizer in its middle; abstract.

    Signals and codes may come from any device and in any dtype of their kind: they move to the model's.

    A subclass makes its networks and the quantizer in its constructor, sets the attributes, and implements `encode`, `decode`,
    `vectors_per_unit`, `coded`, `compress`, `decompress`, and the three private methods ``_analyzed``, ``_synthesized`` and ``_cut``.

    Attributes:
        channels: channels of the signal.
        quantizer: quantizer of the latent.
        initialized: whether `initialize` has run, or weights were loaded.
        prior: entropy model of the codes, which makes files smaller than plain bits; None without. ``vqkit fit-prior`` fits it, and it is
            saved beside the weights as ``prior.vqe``.
        modality: what the signal is; it names the rate and its unit.
    """

    channels: int
    quantizer: Quantizer
    initialized: Tensor | bool
    prior: EntropyModel | None = None

    modality: ClassVar[Modality]
    _beside: ClassVar[tuple[str, ...]] = (PRIOR_FILE,)

    # --- what a subclass says

    @abstractmethod
    def vectors_per_unit(self, *size: int) -> float:
        """Latent vectors in what the unit of rate counts by: a thousandth of a second, or a pixel.

        Args:
            size: size of the signal, where the rate depends on it: (height, width) of an image.
        """

    @abstractmethod
    def _analyzed(
        self, signal: Float[Tensor, "batch channels *size"], lengths: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "batch *grid dim"], Bool[Tensor, "batch *grid"] | None]:
        """The latent and the mask of its real positions, with gradients; refuses what is no such signal."""

    @abstractmethod
    def _synthesized(
        self, z: Float[Tensor, "batch *grid dim"], mask: Bool[Tensor, "batch *grid"] | None
    ) -> Float[Tensor, "batch channels *size"]:
        """Decode a latent, with gradients, to the full extent of its frames or cells."""

    @abstractmethod
    def _cut(self, signal: Tensor, size: Any) -> Tensor:
        """Cut a signal to ``size``, a number of samples or (height, width), from its beginning; None keeps all of it."""

    def _finished(self, signal: Tensor) -> Tensor:
        """Finish a decoded signal for the user, for example by clamping it to the range that can be shown."""
        return signal

    # --- rates

    def rates(self, *size: int) -> tuple[float, ...]:
        """Rates that `encode` can keep to, before entropy coding: of the first stage, of the first two and so on, in the modality's unit.

        Args:
            size: size of the signal, the same as in `vectors_per_unit`.
        """
        vectors = self.vectors_per_unit(*size)
        return tuple(round(bits * vectors, 9) for bits in self.quantizer.stage_bits)

    def stages_within(self, rate: float, *size: int) -> int:
        """Return the largest number of stages whose rate is at most ``rate``.

        Args:
            rate: highest rate, in the modality's unit.
            size: size of the signal, the same as in `vectors_per_unit`.

        Raises:
            ValueError: not even the first stage fits.
        """
        what = self.modality
        owner = f"this {what.model} has" + (f", at {'×'.join(map(str, size))}," if size else "")
        return stages_within(self.rates(*size), rate, what.rate_name, owner, what.rate_unit)

    # --- a signal through all of it

    def forward(
        self, signal: Float[Tensor, "batch channels *size"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Reconstruction:
        """Encode, quantize and decode; in training mode the quantizer learns.

        Args:
            signal: waveforms at the model's sample rate, or images in [0, 1].
            lengths: samples of each waveform, where they were padded at the end.

        Returns:
            `Reconstruction`: a signal of the size given, not clamped.

        Raises:
            TypeError: the signal is not floating, or lengths are not integers.
            ValueError: wrong channels, an empty signal, a size that the model does not take, or lengths out of range.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and (self.training or _asks_for_gradient(signal))):
            latent, mask = self._analyzed(signal, lengths)
            quantized = self.quantizer(latent, mask)
            made = self._fitted(self._synthesized(quantized.z_q, mask), signal, lengths)
            return Reconstruction(made, latent, quantized, mask)

    def autoencode(self, signal: Float[Tensor, "batch channels *size"]) -> Reconstruction:
        """Encode and decode without the quantizer, with gradients: what training may start from, and what no quantizer can beat.

        Args:
            signal: signal, the same as in `forward`.

        Returns:
            `Reconstruction`, of which ``quantized`` is None; errors as in `forward`.
        """
        latent, mask = self._analyzed(signal, None)
        return Reconstruction(self._fitted(self._synthesized(latent, mask), signal, None), latent)

    def _fitted(self, made: Tensor, signal: Tensor, lengths: Tensor | None) -> Tensor:
        """Cut the networks' output to the size of the signal."""
        size = signal.shape[2:]
        return self._cut(made, size[0] if len(size) == 1 else size)

    @torch.no_grad()
    def analyze(self, signal: Float[Tensor, "batch channels *size"]) -> Float[Tensor, "batch *grid dim"]:
        """The latent of a signal, as the quantizer gets it; errors as in `forward`."""
        return self._analyzed(signal, None)[0]

    def synthesize(
        self, z: Float[Tensor, "batch *grid dim"], size: Any = None, /, *, gradient: bool = False
    ) -> Float[Tensor, "batch channels *size"]:
        """The signal of a latent, of a size as in `decode`, errors as there; it has a gradient only where that is asked for."""
        with torch.set_grad_enabled(gradient and torch.is_grad_enabled()):
            return self._finished(self._cut(self._synthesized(z, None), size))

    # --- codes and files; a subclass has words for its signal and its rate

    @abstractmethod
    def encode(self, signal: Tensor, rate: float | None = None, /) -> Int[Tensor, "batch num_codes *grid"]:
        """Codes of a signal; of all stages, or of those that fit into a rate."""

    @abstractmethod
    def decode(self, codes: Int[Tensor, "batch num_codes *grid"], size: Any = None, /) -> Tensor:
        """The signal of codes of all stages or of the first ones."""

    @abstractmethod
    def coded(self, signal: Float[Tensor, "channels *size"], /) -> CodedSignal:
        """The codes of one signal of the model's channels and rate, as its file holds them; errors as in `encode`."""

    @abstractmethod
    def compress(self, signal: Tensor, *options: Any, **named: Any) -> bytes:
        """Encode one signal into the bytes of a ``.vqk`` file."""

    @abstractmethod
    def decompress(self, data: bytes, /) -> Any:
        """The signal of a ``.vqk`` file."""

    def _encoded(
        self, signal: Tensor, lengths: Tensor | None, stages: int | None, rate_weight: float | None = None
    ) -> Tensor:
        latent, mask = self._analyzed(signal, lengths)
        return self.quantizer.encode(latent, mask, rate_weight=rate_weight, stages=stages).movedim(-1, 1)

    def _decoded(self, codes: Tensor, size: Any, mask: Tensor | None = None) -> Tensor:
        z_q = self.quantizer.decode(codes.movedim(1, -1))
        return self._finished(self._cut(self._synthesized(z_q, mask), size))

    # --- training; a subclass overrides what it has

    def network_parameters(self) -> list[nn.Parameter]:
        """Parameters of all but the quantizer."""
        of_quantizer = {id(parameter) for parameter in self.quantizer.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in of_quantizer]

    @property
    def last_layer(self) -> Tensor:
        """Weight of the last layer before the signal, where an adaptive adversarial weight compares gradients.

        Raises:
            ValueError: there is none.
        """
        raise ValueError(f"a {type(self).__name__} has no last layer with weights")

    def initialize(self, signal: Float[Tensor, "batch channels *size"]) -> None:
        """Fit what can be fitted to a first training batch without gradients; training calls it unless `initialized` is set.

        Raises:
            ValueError: as in `forward`, or nothing can be fitted to this batch.
        """
        raise ValueError(f"{type(self).__name__} has nothing to fit to a first batch")

    @property
    def rotatable(self) -> bool:
        """Whether `rotate_latent` can rotate the latent; False unless a class supports it."""
        return False

    def rotate_latent(self, rotation: Float[Tensor, "dim dim"]) -> None:
        """Rotate the latent to ``z @ rotation``, and let the networks rotate it back: without quantizer the signal stays the same.

        Args:
            rotation: orthonormal, such as `vqkit.nn.balanced_rotation` gives.

        Raises:
            ValueError: another shape, not orthonormal, or not `rotatable`.
        """
        raise ValueError(f"the latent of a {type(self).__name__} cannot be rotated")

    # --- saving

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        save_prior(save_directory, self.prior)

    def _read_beside(self, folder: Path) -> None:
        self.prior = read_prior(folder, self.quantizer.packed_sizes)


def _asks_for_gradient(signal: Any) -> bool:
    return isinstance(signal, Tensor) and signal.requires_grad
