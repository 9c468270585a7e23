"""The tokenizer: patches → codes, by an encoder of its own and any quantizer of vqkit.

trained:     patches ─ encoder ─ linear ─ tanh ─ linear ─ quantizer ─ codes
cold start:  patches ─ patch embedding (+ positions) ─ linear ─ quantizer ─ codes        (random, frozen)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from vqkit.models.bridle.encoder import Encoder
from vqkit.models.bridle.normalised import Normalised, each_stage_normalised
from vqkit.quantize import Quantizer
from vqkit.quantize.codebook import Codebook
from vqkit.types import Bool, Float, Int, Quantized

__all__ = ["Tokenizer"]

_NEVER = 1e-9  # a share of use that only a code without any vector falls below


class Tokenizer(nn.Module):
    """Gives every patch its codes.

    Args:
        encoder: encoder of the same sizes as the main encoder, with weights of its own.
        quantizer: any quantizer; its dim is the length of the vectors that it gets.
        normalise: ``"once"`` scales every vector to length 1 before the quantizer, ``"each-stage"`` is the published code's reading (see
            `Normalised`), ``"none"`` leaves vectors as they are.
        cold_positions: whether the cold start adds positions to the patches, as the published code does; they are longer than the
            embedding of a patch, so that codes then say mostly where a patch is.

    Attributes:
        trained: buffer; whether a tokenizer phase has trained it, so that codes come from its encoder.

    References:
        BRIDLE, sections 3.1 and 4.2; Chen et al., "BEATs" (2023), arXiv:2212.09058, section 3.2 (cold start).
    """

    trained: Tensor

    def __init__(
        self,
        encoder: Encoder,
        quantizer: Quantizer,
        *,
        normalise: Literal["once", "each-stage", "none"] = "once",
        cold_positions: bool = False,
    ) -> None:
        super().__init__()
        width, dim = encoder.stack.width, quantizer.dim
        self.encoder, self.cold_positions = encoder, cold_positions
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, dim)
        self.cold_projection = nn.Linear(width, dim, bias=False)
        if normalise not in ("once", "each-stage", "none"):
            raise ValueError(f"normalise must be 'once', 'each-stage' or 'none', got {normalise!r}")
        self.quantizer: Quantizer = (
            Normalised(quantizer)
            if normalise == "once"
            else each_stage_normalised(quantizer)
            if normalise == "each-stage"
            else quantizer
        )
        self.register_buffer("trained", torch.zeros((), dtype=torch.bool))
        self._reset_projections()

    def _reset_projections(self) -> None:
        for layer in (self.inner, self.outer, self.cold_projection):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.inner, self.outer):
            nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, codebooks included: what a tokenizer phase does first."""
        self.encoder.reset_parameters()
        self._reset_projections()
        for part in self.quantizer.modules():
            if part is not self.quantizer and hasattr(part, "reset_parameters"):
                cast(Any, part).reset_parameters()

    def latents(
        self,
        patches: Float[Tensor, "batch places values"],
        grid: tuple[int, ...],
        real: Bool[Tensor, "batch places"] | None = None,
    ) -> Float[Tensor, "batch *grid dim"]:
        """Return the quantizer's input from the trained encoder and its projection, with gradient."""
        return self._projected(self.encoder(patches, real=real)).unflatten(1, grid)

    def _projected(self, hidden: Float[Tensor, "batch places width"]) -> Float[Tensor, "batch places dim"]:
        with torch.autocast(device_type=hidden.device.type, enabled=False):
            found: Tensor = self.outer(self.inner(hidden.to(self.inner.weight.dtype)).tanh())
            return found

    @torch.no_grad()
    def cold_latents(
        self, patches: Float[Tensor, "batch places values"], grid: tuple[int, ...]
    ) -> Float[Tensor, "batch *grid dim"]:
        """Return the quantizer's input in the cold start: a random, frozen projection of the embedded patches, whatever autocast says."""
        with torch.autocast(device_type=patches.device.type, enabled=False):
            embedded = self.encoder.embed(patches.to(self.inner.weight.dtype), positions=self.cold_positions)
            return self.cold_projection(embedded).unflatten(1, grid)

    @torch.no_grad()
    def codes(
        self,
        patches: Float[Tensor, "batch places values"],
        grid: tuple[int, ...],
        real: Bool[Tensor, "batch places"] | None = None,
    ) -> Int[Tensor, "batch places codes"]:
        """Compute the codes of all places; no state changes."""
        latents = self.latents(patches, grid, real) if bool(self.trained) else self.cold_latents(patches, grid)
        mask = None if real is None else real.unflatten(1, grid)
        return self.quantizer.encode(latents, mask).flatten(1, len(grid))

    @torch.no_grad()
    def codes_alone(
        self, patches: Float[Tensor, "batch places values"], chosen: Int[Tensor, "batch chosen"]
    ) -> Int[Tensor, "batch chosen codes"]:
        """Compute codes of some places by a tokenizer that sees only these, as in the published code for video; no state changes.

        Raises:
            ValueError: the quantizer needs whole grids, as interpolation does.
        """
        if self.quantizer.needs_grid:
            raise ValueError("a quantizer that interpolates needs the whole grid, not some places of it")
        if bool(self.trained):
            return self.quantizer.encode(self._projected(self.encoder(patches, kept=chosen)))
        with torch.autocast(device_type=patches.device.type, enabled=False):
            embedded = self.encoder.embed(patches.to(self.inner.weight.dtype), chosen, positions=self.cold_positions)
            return self.quantizer.encode(self.cold_projection(embedded))

    @torch.no_grad()
    def start(self, patches: Float[Tensor, "batch places values"], grid: tuple[int, ...]) -> None:
        """Let the codebooks of the cold start begin at its vectors, as far as they wait for a first batch."""
        was = self.quantizer.training
        self.quantizer.train()
        if any(book.waits() for book in self.codebooks()):
            self.quantizer(self.cold_latents(patches, grid))
        self.quantizer.train(was)

    def quantize(self, latents: Float[Tensor, "batch *grid dim"]) -> Quantized:
        """The quantizer's result, with losses; in training its codebooks learn."""
        result: Quantized = self.quantizer(latents)
        return result

    def codebooks(self) -> list[Codebook]:
        """Return all codebooks of the quantizer."""
        return [part for part in self.quantizer.modules() if isinstance(part, Codebook)]

    @contextmanager
    def resetting_unused(self) -> Iterator[None]:
        """Within it, a forward in training moves every code that no vector chose to a vector of the batch.

        Codebooks that revive codes by themselves are left alone.

        References:
            BRIDLE, section 3.3, "Resetting unused codes": in the first batch of a tokenizer phase only.
        """
        books = [book for book in self.codebooks() if book.revive == "none"]
        thresholds = [book.restart_threshold for book in books]
        for book in books:
            book.revive, book.restart_threshold = "restart", _NEVER
            book.usage.zero_()
        try:
            yield
        finally:
            for book, threshold in zip(books, thresholds, strict=True):
                book.revive, book.restart_threshold = "none", threshold
                book.usage.fill_(1)
