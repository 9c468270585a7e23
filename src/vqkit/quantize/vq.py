"""Vector quantization: one codebook, the nearest code."""

from typing import Any, Self

import torch
from torch import Tensor

from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import one_of, positive, share
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.joint import JointBatch
from vqkit.quantize.learning import refuse_recomputation
from vqkit.quantize.losses import pulls
from vqkit.quantize.straight_through import straight_through

__all__ = ["VQ"]


class VQ(Quantizer):
    """Replace each vector by the nearest code of a learned codebook.

    The defaults are what kept codes alive and errors least in benchmarks/defaults.py; `paper` has those of VQ-VAE.

    k = argmin_j ‖z − e_j‖², z_q = e_k. With ``distance="cosine"`` both sides are normalised for the search and e_k itself comes out.

    Args:
        dim: length of the vectors.
        codebook_size: number of codes K; log2 K bits a vector.
        distance: ``"l2"`` or ``"cosine"`` (needs dim > 1: in one dimension a direction is only a sign).
        update: how codes learn: ``"ema"`` (moving averages of the vectors that chose them) or ``"gradient"`` (from the losses).
        init: ``"kmeans"`` on the first training batch, or ``"uniform"`` in ±1/K.
        revive: what unused codes become: ``"restart"`` (vectors of the batch), ``"cvq"`` (anchors) or ``"none"``.
        anchor: for ``"cvq"``: ``"random"``, ``"closest"`` or ``"probrandom"``, see `Codebook`.
        decay: γ of the moving averages.
        restart_threshold: for ``"restart"``: a code used less than this share of 1/K becomes a vector of the batch.
        commitment_weight: weight of ‖z − sg e‖² (β of VQ-VAE eq. 3).
        codebook_weight: weight of ‖sg z − e‖²; has no effect with ``"ema"``.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> q = VQ(dim=8, codebook_size=16)
        >>> out = q(torch.randn(2, 50, 8))
        >>> out.codes.shape, q.bits_per_vector, sorted(out.losses)
        (torch.Size([2, 50, 1]), 4.0, ['commitment'])

    References:
        van den Oord et al., "Neural discrete representation learning" (2017), arXiv:1711.00937; IVQ eqs 1–5.
    """

    straight_through = True

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        distance: str = "l2",
        update: str = "ema",
        init: str = "kmeans",
        revive: str = "restart",
        anchor: str = "random",
        decay: float = 0.99,
        restart_threshold: float = 0.1,
        commitment_weight: float = 0.25,
        codebook_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.dim = positive("dim", dim)
        if one_of("distance", distance, ("l2", "cosine")) == "cosine" and dim == 1:
            raise ValueError("distance='cosine' needs dim > 1: in one dimension only the sign is left; use 'l2'")
        self.commitment_weight = commitment_weight
        self.codebook_weight = codebook_weight if one_of("update", update, ("gradient", "ema")) == "gradient" else 0.0
        self.codebook = Codebook(
            dim,
            positive("codebook_size", codebook_size),
            distance=distance,
            update=update,
            init=one_of("init", init, ("uniform", "kmeans")),
            revive=one_of("revive", revive, ("none", "restart", "cvq")),
            anchor=one_of("anchor", anchor, ("closest", "random", "probrandom")),
            decay=share("decay", decay),
            restart_threshold=share("restart_threshold", restart_threshold),
        )

    @classmethod
    def paper(cls, dim: int, codebook_size: int, **options: Any) -> Self:
        """VQ-VAE as published: codes start near 0, learn by gradient, and stay dead once they are.

        Args:
            dim: length of the vectors.
            codebook_size: number of codes.
            options: further arguments of the constructor.
        """
        return cls(dim, codebook_size, **{"update": "gradient", "init": "uniform", "revive": "none", **options})

    @property
    def code_sizes(self) -> tuple[int, ...]:
        """The codebook size."""
        return (self.codebook.num_codes,)

    @property
    def codes_per_stage(self) -> tuple[int, ...]:
        """One code."""
        return (1,)

    @property
    def codebook_numel(self) -> int:
        """K·dim floats."""
        return self.codebook.weight.numel()

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the codebook."""
        return self.codebook.weight.dtype

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        vectors, real = x.detach().reshape(-1, self.dim), None if mask is None else mask.reshape(-1)
        book = self.codebook
        batch = None
        if self.training and not (self._frozen or book.frozen):
            batch = JointBatch(vectors, real)
            book.initialize(batch, provisional=self._deferred)
        flat = book.search(vectors)
        codes = flat.reshape(x.shape[:-1])
        if mask is not None:
            codes = torch.where(mask, codes, -1)
        q = book.lookup(codes)
        losses = pulls(x, q, mask, self.commitment_weight, self.codebook_weight)
        if batch is not None and self.learning and book.learns_in_forward:
            refuse_recomputation()
            # learned from when the whole forward has found its codes; vectors are kept only where some of them may become codes
            step = (book, book.own_part(batch, flat), None if book.revive == "none" else batch)
            self._steps = [*self._steps, step]
        return straight_through(x, q), codes[..., None], losses

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        codes = self.codebook.search(x.reshape(-1, self.dim)).reshape(x.shape[:-1])
        return (codes if mask is None else torch.where(mask, codes, -1))[..., None]

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        return self.codebook.lookup(codes[..., 0])

    def _fit(self, x: Tensor, iterations: int) -> None:
        self.codebook.fit(JointBatch(x, alone=True), iterations, reseed=True)
