"""Vector quantization: one codebook, the nearest code."""

from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize.assignment import balanced_codes, drawn_codes
from vqkit.quantize.base import Quantizer, Step
from vqkit.quantize.checks import one_of, positive, share
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.gradients import directional_noise, noise_substitution, rotation_trick
from vqkit.quantize.joint import JointBatch, packed_clusters
from vqkit.quantize.learning import refuse_recomputation
from vqkit.quantize.losses import means_over_ranks, pulls
from vqkit.quantize.search import offered
from vqkit.quantize.straight_through import straight_through
from vqkit.ranks import num_ranks
from vqkit.types import Float

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
        init: ``"kmeans"`` on the first training batch, which counts as one batch in the moving averages, or ``"uniform"`` in ±1/K.
        revive: what unused codes become: ``"split"`` (neighbours of used ones), ``"restart"`` (vectors), ``"cvq"`` or ``"none"``.
        anchor: for ``"cvq"``: ``"random"``, ``"closest"`` or ``"probrandom"``, see `Codebook`.
        decay: γ of the moving averages; that of published CVQ is 0.99.
        restart_threshold: for ``"split"`` and ``"restart"``: a code used less than this share of 1/K is unused.
        commitment_weight: weight of ‖z − sg e‖² (β of VQ-VAE eq. 3).
        codebook_weight: weight of ‖sg z − e‖²; has no effect with ``"ema"``.
        gradient: what reaches z, and the codes of ``update="gradient"``, from z_q: ``"straight-through"`` (unchanged to z),
            ``"rotation"`` (`rotation_trick`), ``"nsvq"`` (`noise_substitution`), ``"diveq"`` (`directional_noise`) or ``"soft"`` (that of
            Σ p_j e_j with p = softmax(−‖z − e_j‖²/temperature), so that every code gets one; needs (vectors, K) floats).
        assignment: code of a vector in training: ``"nearest"``, ``"balanced"`` (a transport plan that uses all codes evenly) or
            ``"drawn"`` (from softmax(−‖z − e_j‖²/temperature)). `encode` and evaluation take the nearest.
        temperature: for ``gradient="soft"`` and the last two assignments.
        unit: put vectors and codes on the unit sphere: the search goes by angle, and z_q has length 1.
        orthogonality_weight: weight of the mean of (ê_iᵀê_j)² over pairs of codes; needs ``update="gradient"``.
        diversity_weight: weight of −H(E[p]) in nats, p as for ``"soft"``, over the joint batch of all ranks.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> import torch
        >>> q = VQ(dim=8, codebook_size=16)
        >>> out = q(torch.randn(2, 50, 8))
        >>> out.codes.shape, q.bits_per_vector, sorted(out.losses)
        (torch.Size([2, 50, 1]), 4.0, ['commitment'])

    References:
        van den Oord et al., "Neural discrete representation learning" (2017), arXiv:1711.00937; IVQ eqs 1–5. ``"soft"``: Shi et al.,
        "Scalable image tokenization with index backpropagation quantization" (2024), arXiv:2412.02692, eq. 6. ``unit``: Yu et al.,
        "Vector-quantized image modeling with improved VQGAN" (2021), arXiv:2110.04627, section 3.2. Orthogonality: Shin et al.,
        "Exploration into translation-equivariant image quantization" (2021), arXiv:2112.00384. ``"balanced"``: see
        `vqkit.quantize.assignment`.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        distance: str = "l2",
        update: str = "ema",
        init: str = "kmeans",
        revive: str = "split",
        anchor: str = "random",
        decay: float = 0.98,
        restart_threshold: float = 0.2,
        commitment_weight: float = 0.25,
        codebook_weight: float = 1.0,
        gradient: str = "straight-through",
        assignment: str = "nearest",
        temperature: float = 1.0,
        unit: bool = False,
        orthogonality_weight: float = 0.0,
        diversity_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim = positive("dim", dim)
        by_angle = one_of("distance", distance, ("l2", "cosine")) == "cosine" or unit
        if by_angle and dim == 1:
            raise ValueError("distance='cosine' needs dim > 1: in one dimension only the sign is left; use 'l2'")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature!r}")
        learned = one_of("update", update, ("gradient", "ema")) == "gradient"
        if orthogonality_weight and not learned:
            raise ValueError("orthogonality_weight moves codes by its gradient: it needs update='gradient'")
        self.commitment_weight = commitment_weight
        self.codebook_weight = codebook_weight if learned else 0.0
        self.gradient = one_of("gradient", gradient, ("straight-through", "rotation", "nsvq", "diveq", "soft"))
        self.assignment = one_of("assignment", assignment, ("nearest", "balanced", "drawn"))
        self.temperature, self.unit = float(temperature), bool(unit)
        self.orthogonality_weight, self.diversity_weight = orthogonality_weight, diversity_weight
        self.straight_through = gradient == "straight-through" and not unit
        self.codebook = Codebook(
            dim,
            positive("codebook_size", codebook_size),
            distance="cosine" if by_angle else "l2",
            update=update,
            init=one_of("init", init, ("uniform", "kmeans")),
            revive=one_of("revive", revive, ("none", "split", "restart", "cvq")),
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

    @property
    def max_candidates(self) -> int:
        """Every code is a candidate."""
        return self.codebook.num_codes

    def logits(self, z: Float[Tensor, "*shape dim"]) -> Float[Tensor, "*shape codes"]:
        """−‖z − e_j‖² of every code (its cosine with ``distance="cosine"``): the highest is the code of z; differentiable.

        Raises:
            TypeError: z is not floating.
            ValueError: wrong shape, or NaN or Inf.

        Example:
            >>> import torch
            >>> q = VQ(dim=4, codebook_size=8).eval()
            >>> z = torch.randn(2, 5, 4)
            >>> torch.equal(q.logits(z).argmax(-1), q.encode(z)[..., 0])
            True
        """
        x = self._checked(z, None, finite=True)
        with torch.autocast(device_type=z.device.type, enabled=False):
            return self.codebook.scores(x)

    def _quantize(self, x: Tensor, mask: Tensor | None) -> Step:
        return self._step(x, mask, None)

    def _quantize_to(self, x: Tensor, mask: Tensor | None, codes: Tensor) -> Step:
        return self._step(x, mask, codes[..., 0])

    def _step(self, x: Tensor, mask: Tensor | None, chosen: Tensor | None) -> Step:
        """Search, unless codes were chosen already, and learn."""
        if self.unit:
            x = F.normalize(x, dim=-1)
        vectors, real = x.detach().reshape(-1, self.dim), None if mask is None else mask.reshape(-1)
        # drawn before the k-means of a start draws, which a recomputation by activation checkpointing does not run again
        noise = torch.randn_like(vectors) if self.training and self.gradient in ("nsvq", "diveq") else None
        uniform = None
        if self.training and self.assignment == "drawn" and chosen is None:
            uniform = torch.rand(len(vectors), self.codebook.num_codes, dtype=torch.float32, device=x.device)
        batch = self._started(vectors, real)
        flat = self._assigned(vectors, real, uniform) if chosen is None else chosen.reshape(-1).clamp_min(0)
        codes = flat.reshape(x.shape[:-1])
        if mask is not None:
            codes = torch.where(mask, codes, -1)
        q = self._lookup(codes)
        losses = {**pulls(x, q, mask, self.commitment_weight, self.codebook_weight), **self._spread(x, mask)}
        self._learn(batch, flat, x.shape[0])
        return self._passed(x, q, noise, mask), codes[..., None], losses

    def _learn(self, batch: JointBatch | None, codes: Tensor, items: int) -> None:
        if batch is not None and self.learns_in_forward:
            batch.codes = codes
            self._learn_from(packed_clusters(*batch.own_clusters(codes, self.codebook.num_codes)), batch, items)

    @property
    def learns_in_forward(self) -> bool:
        """Whether a forward now moves codes, or statistics of them."""
        return self.learning and not self.codebook.frozen and self.codebook.learns_in_forward

    def _learn_from(self, clusters: Tensor, batch: JointBatch, items: int) -> None:
        """Remember what to learn from when the whole forward has found its codes; vectors only where some of them may become codes."""
        refuse_recomputation()
        part = self.codebook.own_part(batch, clusters)
        step = (self.codebook, part, None if self.codebook.revive == "none" else batch, items)
        self._steps = [*self._steps, step]

    def _start(self, x: Tensor, mask: Tensor | None) -> None:
        self._started(x.reshape(-1, self.dim), None if mask is None else mask.reshape(-1))

    def _started(self, vectors: Tensor, real: Tensor | None) -> JointBatch | None:
        """The batch that the codebook learns from, and starts from if it waits for one; None where it learns nothing."""
        if not self.training or self._frozen or self.codebook.frozen:
            return None
        batch = JointBatch(vectors, real)
        self.codebook.initialize(batch, provisional=self._deferred)
        return batch

    def _assigned(self, vectors: Tensor, real: Tensor | None, uniform: Tensor | None) -> Tensor:
        if not self.training or self.assignment == "nearest":
            return self.codebook.search(vectors)
        with torch.no_grad():
            scores = self.codebook.scores(vectors)
            if uniform is not None:
                return drawn_codes(scores, self.temperature, uniform)
            return balanced_codes(scores, real, self.temperature)

    def _lookup(self, codes: Tensor) -> Tensor:
        q = self.codebook.lookup(codes)
        return F.normalize(q, dim=-1) if self.unit else q  # what is masked stays 0

    def _passed(self, x: Tensor, q: Tensor, noise: Tensor | None, mask: Tensor | None) -> Tensor:
        """The output, with the gradient that was asked for."""
        if self.gradient == "rotation":
            return rotation_trick(x, q)
        if self.gradient == "soft":
            every = torch.arange(self.codebook.num_codes, device=x.device)
            soft = (self.codebook.scores(x) / self.temperature).softmax(dim=-1) @ self._lookup(every)
            if mask is not None:
                soft = torch.where(mask[..., None], soft, 0.0)
            return q + (soft - soft.detach())  # adds exactly 0
        if noise is None:
            return straight_through(x, q)
        substitute = noise_substitution if self.gradient == "nsvq" else directional_noise
        noisy = substitute(x, q, noise.view_as(x))
        return noisy if mask is None else torch.where(mask[..., None], noisy, 0.0)

    def _spread(self, x: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        """Losses that keep codes apart and in use."""
        losses = {}
        if self.orthogonality_weight:
            table = F.normalize(self.codebook.lookup(torch.arange(self.codebook.num_codes, device=x.device)), dim=-1)
            pairs = max(1, len(table) * (len(table) - 1))
            products = (table @ table.T).square()
            losses["orthogonality"] = self.orthogonality_weight * (products.sum() - products.trace()) / pairs
        if self.diversity_weight:
            share = (self.codebook.scores(x) / self.temperature).softmax(dim=-1).reshape(-1, self.codebook.num_codes)
            weight = (x.new_ones(x.shape[:-1]) if mask is None else mask.to(x.dtype)).flatten()
            count = weight.sum()
            mean = (share * weight[:, None]).sum(dim=0) / count.clamp_min(1)
            if self.training and num_ranks() > 1:
                (mean,) = means_over_ranks([mean], count)
            losses["diversity"] = self.diversity_weight * (mean * mean.clamp_min(1e-12).log()).sum()
        return losses

    def _encode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        codes = self.codebook.search(x.reshape(-1, self.dim)).reshape(x.shape[:-1])
        return (codes if mask is None else torch.where(mask, codes, -1))[..., None]

    def _piece_codebooks(self) -> list[Codebook] | None:
        if type(self) is not VQ or self.unit or self.codebook.distance != "l2":  # a subclass may search as it likes
            return None
        # a split table is gathered for the time of a forward only
        elsewise = (self.training and self.assignment != "nearest") or self.codebook._shard is not None
        return None if elsewise else [self.codebook]

    def _candidates(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        if count == 1:
            return super()._candidates(x, 1)
        scores = self.codebook.scores(x)
        if self.codebook.distance == "cosine":  # ranked by angle, but a residual is what is left by length
            codes = scores.topk(min(count, self.codebook.num_codes), dim=1).indices
            return codes[..., None], (x[:, None] - self._lookup(codes)).square().sum(dim=-1)
        return offered(scores, count)

    def _decode(self, codes: Tensor, stages: int) -> Tensor:
        return self._lookup(codes[..., 0])

    def _fit(self, x: Tensor, iterations: int) -> None:
        batch = JointBatch(F.normalize(x, dim=-1) if self.unit else x, alone=True)
        self.codebook.fit(batch, iterations, reseed=True)
