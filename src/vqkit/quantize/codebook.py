"""A codebook and how it learns: initialisation, EMA update, revival of dead codes.

Conventions
    The table is ``weight`` (codes, dim): a parameter with ``update="gradient"``, a buffer with ``update="ema"``. Sums and counts are
    kept in float32 whatever the dtype of the model. Everything that changes the table happens in training, over all ranks joined.

References:
    EMA: van den Oord et al. (2017), arXiv:1711.00937, appendix A.1; BRIDLE eqs 9–13. CVQ: Zheng & Vedaldi (2023), arXiv:2307.15139.
"""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.quantize.joint import JointBatch
from vqkit.quantize.kmeans import kmeans
from vqkit.quantize.search import nearest
from vqkit.quantize.sharding import is_sharded, own_part
from vqkit.types import Float, Int

__all__ = ["Codebook"]

_EPSILON = 1e-5  # Laplace smoothing of the EMA counts
_INIT_ITERATIONS = 10
_FITTED = 1.5  # EMA counts that add up to less are the shares that a fit left, which add up to 1


class Codebook(nn.Module):
    """A table of codes that learns from the vectors assigned to them.

    Args:
        dim: length of a code.
        num_codes: how many codes.
        distance: ``"l2"`` or ``"cosine"``.
        update: ``"gradient"`` (the losses move the codes) or ``"ema"`` (moving averages of the assigned vectors do).
        init: ``"uniform"`` in ±1/num_codes, or ``"kmeans"`` on the first training batch.
        revive: ``"none"``, ``"restart"`` (a code used less than ``restart_threshold`` of its fair share becomes a vector of the
            batch) or ``"cvq"`` (every code moves to an anchor, the more the less it is used).
        anchor: where ``"cvq"`` takes its anchors: ``"random"`` (a vector of the batch), ``"closest"`` (the one nearest to the code) or
            ``"probrandom"`` (a draw from the softmax of similarity).
        decay: γ of the moving averages.
        restart_threshold: share of the fair share 1/num_codes below which a code is dead.
    """

    weight: Tensor
    usage: Tensor
    initialized: Tensor
    ema_count: Tensor | None
    ema_sum: Tensor | None

    def __init__(
        self,
        dim: int,
        num_codes: int,
        *,
        distance: str = "l2",
        update: str = "gradient",
        init: str = "uniform",
        revive: str = "none",
        anchor: str = "random",
        decay: float = 0.99,
        restart_threshold: float = 0.1,
    ) -> None:
        super().__init__()
        self.distance, self.update, self.revive, self.anchor = distance, update, revive, anchor
        self.decay, self.restart_threshold = decay, restart_threshold
        weight = torch.empty(num_codes, dim).uniform_(-1 / num_codes, 1 / num_codes)
        if update == "ema":
            self.register_buffer("weight", weight)
            self.register_buffer("ema_count", torch.ones(num_codes))
            self.register_buffer("ema_sum", weight.clone())
        else:
            self.weight = nn.Parameter(weight)
            self.ema_count = self.ema_sum = None
        # usage: moving average of (share of the vectors) × num_codes, so 1 is fair; CVQ starts from "never used"
        self.register_buffer("usage", torch.zeros(num_codes) if revive == "cvq" else torch.ones(num_codes))
        self.register_buffer("initialized", torch.tensor(init == "uniform"))
        self.init = init
        self.frozen = False  # set by `Quantizer.freeze`
        self.deferred: list[tuple[Tensor, Tensor, Tensor]] | None = None  # set by `Quantizer.defer_learning`

    @property
    def learns(self) -> bool:
        """Whether training may change the table: it is not frozen, by `Quantizer.freeze` or by ``requires_grad_(False)``."""
        return not self.frozen and (self.update == "ema" or self.weight.requires_grad)

    @property
    def num_codes(self) -> int:
        """How many codes the table holds."""
        return self.weight.shape[0]

    def search(self, x: Float[Tensor, "vectors dim"]) -> Int[Tensor, " vectors"]:
        """Index of the nearest code of each vector."""
        return nearest(x, self._whole().detach().float(), self.distance)

    def lookup(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape dim"]:
        """Codes → float32 vectors; −1 gives zeros. Differentiable in the table."""
        found = F.embedding(codes.clamp_min(0), self._whole()).float()
        return torch.where((codes < 0)[..., None], 0.0, found)

    @torch.no_grad()
    def initialize(self, batch: JointBatch) -> None:
        """K-means on the first training batch, once, if that is how this codebook starts; the buffer alone says whether it was."""
        if self.init != "kmeans" or not self.learns:
            return
        if torch.compiler.is_compiling():  # a graph cannot branch on a value: the branch is inside one operator
            start_codebook(
                batch.x,
                batch.real,
                self.weight.detach(),
                self.usage,
                self.initialized,
                self.ema_count,
                self.ema_sum,
                self.distance,
            )
        elif not bool(self.initialized) and int(batch.count) > 0:
            self.fit(batch, _INIT_ITERATIONS)

    @torch.no_grad()
    def fit(self, batch: JointBatch, iterations: int, reseed: bool = False) -> None:
        """Replace the table by k-means centroids of the batch."""
        centroids, counts = kmeans(batch, self.num_codes, iterations, self.distance, reseed)
        self._write(centroids)
        if self.ema_count is not None and self.ema_sum is not None:
            self.ema_count.copy_(_shares(counts))
            self.ema_sum.copy_(centroids * self.ema_count[:, None])
        self.usage.fill_(1)
        self.initialized.fill_(True)

    @torch.no_grad()
    def learn(self, batch: JointBatch, codes: Int[Tensor, " vectors"]) -> None:
        """One training step: moving averages, then revival. Revived codes are written last, with their EMA state."""
        if (self.update == "gradient" and self.revive == "none") or not self.learns:
            return
        recomputed = (
            not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1
        )  # within a backward pass
        if self.deferred is not None:
            if not recomputed:
                self.deferred.append((batch.x, batch.real, codes))
            return
        if recomputed:
            raise RuntimeError(
                "activation checkpointing computes this codebook's forward again, and it would learn twice: call "
                "quantizer.defer_learning() and, after each optimizer step, quantizer.apply_learning(); or leave the quantizer out of the "
                "checkpointed part, or freeze() it"
            )
        self._learn(batch, codes)

    @torch.no_grad()
    def apply_deferred(self) -> None:
        """Learn from all batches since the last time as from one; nothing where there was none."""
        if self.deferred:
            x, real, codes = (torch.cat(parts) for parts in zip(*self.deferred, strict=True))
            self.deferred.clear()
            self._learn(JointBatch(x, real), codes)

    def _learn(self, batch: JointBatch, codes: Int[Tensor, " vectors"]) -> None:
        assigned, sums = batch.cluster(codes, self.num_codes)
        counts, real = assigned.float(), assigned.sum()
        if self.ema_count is not None and self.ema_sum is not None:
            fitted = (self.ema_count.sum() < _FITTED) & (real > 0)
            scale = torch.where(fitted, real, 1)
            share = (1 - self.decay) * (real > 0)  # 0 for a batch without a real vector, which changes nothing
            self.ema_count.mul_(scale).lerp_(counts, share)
            self.ema_sum.mul_(scale)
            self.ema_sum.lerp_(sums, share)
            total = self.ema_count.sum()
            smoothed = (self.ema_count + _EPSILON) / (total + self.num_codes * _EPSILON) * total
            self.weight.copy_(torch.where(real > 0, self.ema_sum / smoothed[:, None], self.weight))
        if self.revive == "none":
            return
        self.usage.lerp_(counts * (self.num_codes / real.clamp_min(1)), (1 - self.decay) * (real > 0))
        some = (real > 0).to(self.usage.dtype)  # an empty batch revives nothing
        if self.revive == "restart":
            dead = (self.usage < self.restart_threshold).to(self.usage.dtype) * some
            self._move(batch.sample(self.num_codes)[self._shuffle(batch)], dead, fair=True)
            self.usage.lerp_(torch.ones_like(self.usage), dead)
        else:
            alpha = torch.exp(-self.usage * (10 / (1 - self.decay)) - 1e-3) * some
            self._move(self._anchors(batch), alpha, fair=False)

    def _shuffle(self, batch: JointBatch) -> Tensor:
        """A random order: a stratified sample follows the batch's order, and a code's index must not pick its place."""
        return batch.draw(self.num_codes).argsort(stable=True)

    def _move(self, target: Tensor, share: Tensor, fair: bool) -> None:
        """Move each code by ``share`` of the way to its target, and its EMA state with it."""
        self._write(target, share[:, None].expand_as(target))
        if self.ema_count is not None and self.ema_sum is not None:
            count = self.ema_count
            if fair:
                count = torch.where(share > 0, count.mean().clamp_min(1), count)
            self.ema_sum.copy_(torch.where(share[:, None] > 0, self.weight.float() * count[:, None], self.ema_sum))
            self.ema_count.copy_(count)

    def _anchors(self, batch: JointBatch) -> Tensor:
        if self.anchor == "random":
            return batch.sample(self.num_codes)[self._shuffle(batch)]
        table = self._whole().detach().float()
        if self.anchor == "closest":
            return batch.closest(table, self.distance)
        return batch.draw_similar(table, self.distance)

    def _whole(self) -> Tensor:
        if is_sharded(self.weight):
            raise RuntimeError(
                "the codebook is sharded over ranks (fully_shard) and gathered only in forward: fit before sharding, and for others call "
                "torch.distributed.fsdp.register_fsdp_forward_method(module, 'encode') with the module that was sharded"
            )
        return self.weight

    def _write(self, target: Tensor, share: Tensor | None = None) -> None:
        """Set the table, or move it by a share of the way: the gathered copy and the part that lasts, where there are both."""
        if self.weight.grad_fn is not None:
            raise RuntimeError(
                "the codebook's table is computed from another parameter (FullyShardedDataParallel, a parametrization), so that what it "
                "learns would be lost: use fully_shard instead, or update='ema', or neither init='kmeans' nor revive"
            )
        tables = [(self._whole(), target, share)]
        if self._shard is not None:
            part = None if share is None else own_part(share, self._shard)
            tables.append((self._shard.to_local(), own_part(target, self._shard), part))
        for table, end, way in tables:
            table.copy_(end if way is None else table.float().lerp(end, way))

    @property
    def _shard(self) -> Any:
        """The sharded parameter behind a gathered ``weight``; None where nothing is sharded."""
        return self.__dict__.get("_sharded_weight")

    def __setattr__(self, name: str, value: Any) -> None:
        # fully_shard swaps `weight` by setattr. A DTensor that replaces a gathered copy may itself be a passing one (a copy resharded to
        # fewer ranks between forward and backward): the first one lasts, and what is put in its place.
        if name == "weight" and is_sharded(value) and (self._shard is None or is_sharded(self.weight)):
            self.__dict__["_sharded_weight"] = value
        super().__setattr__(name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        statistics = ("usage", "ema_count", "ema_sum")
        super()._apply(fn, recurse)
        if is_sharded(self.weight):
            self.__dict__["_sharded_weight"] = self.weight
        for name in statistics:  # half precision cannot count: 256 + 1 = 256 in bfloat16
            value = getattr(self, name)
            if value is not None and value.is_floating_point():
                setattr(self, name, value.float())
        return self


@torch.library.custom_op(
    "vqkit::start_codebook", mutates_args=("weight", "usage", "initialized", "ema_count", "ema_sum")
)
def start_codebook(
    x: Tensor,
    real: Tensor,
    weight: Tensor,
    usage: Tensor,
    initialized: Tensor,
    ema_count: Tensor | None,
    ema_sum: Tensor | None,
    distance: str,
) -> None:
    """`Codebook.initialize` as one operator of a compiled graph: k-means of the batch, unless that was done or nothing is real."""
    batch = JointBatch(x, real)
    if bool(initialized) or not int(batch.count):
        return
    centroids, counts = kmeans(batch, weight.shape[0], _INIT_ITERATIONS, distance, False)
    weight.copy_(centroids)
    if ema_count is not None and ema_sum is not None:
        ema_count.copy_(_shares(counts))
        ema_sum.copy_(centroids * ema_count[:, None])
    usage.fill_(1)
    initialized.fill_(True)


def _shares(counts: Tensor) -> Tensor:
    """Counts of a fit as shares: how many vectors a training batch holds, by which they are multiplied, only `learn` will know."""
    counts = counts.clamp_min(1)
    return counts / counts.sum()
