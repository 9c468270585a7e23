"""A codebook and how it learns: initialisation, EMA update, revival of dead codes.

Conventions
    The table is ``weight`` (codes, dim): a parameter with ``update="gradient"``, a buffer with ``update="ema"``. Sums and counts are
    kept in float32 whatever the dtype of the model. Everything that changes the table happens in training, over all ranks joined, and a
    batch without a real vector changes nothing.

References:
    EMA: van den Oord et al. (2017), arXiv:1711.00937, appendix A.1; BRIDLE eqs 9–13. Revival: see `vqkit.quantize.revival`.
"""

from collections.abc import Callable
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqkit.quantize.joint import JointBatch, unpacked_clusters
from vqkit.quantize.kmeans import kmeans
from vqkit.quantize.memo import Memo
from vqkit.quantize.revival import REPLACED, own_targets, picked_places, random_numbers
from vqkit.quantize.search import SearchTable, nearest_in, search_table, similarity
from vqkit.quantize.sharding import is_sharded, own_part
from vqkit.quantize.start import START_ITERATIONS, fitted_shares, start_codebook, start_weight, weighed_shares
from vqkit.types import Float, Int

__all__ = ["Codebook"]

_EPSILON = 1e-5  # Laplace smoothing of the EMA counts
_STATISTICS = ("usage", "ema_count", "ema_sum")


class Codebook(nn.Module):
    """A table of codes that learns from the vectors assigned to them.

    Args:
        dim: length of a code.
        num_codes: how many codes.
        distance: ``"l2"`` or ``"cosine"``.
        update: ``"gradient"`` (the losses move the codes) or ``"ema"`` (moving averages of the assigned vectors do).
        init: ``"uniform"`` in ±1/num_codes, or ``"kmeans"`` on the first training batch.
        revive: ``"none"``, ``"split"`` (a code used less than ``restart_threshold`` of its fair share moves next to a used one),
            ``"restart"`` (it becomes a vector of the batch) or ``"cvq"`` (every code moves to an anchor, the more the less it is used).
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
    exchanging = False  # all ranks are at the same place outside a forward, and may gather a sharded table there
    _frozen = False  # set by `Learner.requires_grad_`
    _some: Tensor  # 1 in a step with real vectors, 0 in one without
    # started from one of the batches that learning was deferred from: all of them will start it anew
    _provisional = False

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
        decay: float = 0.98,
        restart_threshold: float = 0.2,
    ) -> None:
        super().__init__()
        self.distance, self.update, self.init, self.revive, self.anchor = distance, update, init, revive, anchor
        self.decay, self.restart_threshold = decay, restart_threshold
        weight = torch.empty(num_codes, dim)
        if update == "ema":
            self.register_buffer("weight", weight)
            self.register_buffer("ema_count", torch.empty(num_codes, dtype=torch.float32))
            self.register_buffer("ema_sum", torch.empty(num_codes, dim, dtype=torch.float32))
        else:
            self.weight = nn.Parameter(weight)
            self.ema_count = self.ema_sum = None
        # usage: moving average of (share of the vectors) × num_codes, so 1 is fair
        self.register_buffer("usage", torch.empty(num_codes, dtype=torch.float32))
        self.register_buffer("initialized", torch.empty((), dtype=torch.bool))
        self._known: tuple[Tensor, int] | None = None
        self._ready: Memo[SearchTable] = Memo()
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begin anew, as the constructor does; deferred initialisation (``to_empty`` under FSDP) calls it."""
        self.weight.uniform_(-1 / self.num_codes, 1 / self.num_codes)
        if self.ema_count is not None and self.ema_sum is not None:
            self.ema_count.fill_(1)
            self.ema_sum.copy_(self.weight)
        self.usage.fill_(0 if self.revive == "cvq" else 1)  # CVQ starts from "never used"
        self.initialized.fill_(self.init == "uniform")

    @property
    def frozen(self) -> bool:
        """Whether nothing may change the table: `Quantizer.freeze` was called, or the parameter wants no gradient."""
        return self._frozen or (self.update == "gradient" and not self.weight.requires_grad)

    @property
    def learns_in_forward(self) -> bool:
        """Whether training forwards move codes, besides the k-means of the first one."""
        return self.update == "ema" or self.revive != "none"

    @property
    def num_codes(self) -> int:
        """How many codes the table holds."""
        return self.weight.shape[0]

    def search(self, x: Float[Tensor, "vectors dim"]) -> Int[Tensor, " vectors"]:
        """Index of the nearest code of each vector."""
        weight = self._whole()
        # in training the table moves, and a gathered one lies in memory that is another's between two forwards
        lasting = None if self.training or self._shard is not None else [weight]
        return nearest_in(x, self._ready.of(lasting, lambda: search_table(weight.detach().float(), self.distance)))

    def scores(self, x: Float[Tensor, "*shape dim"]) -> Float[Tensor, "*shape codes"]:
        """−‖x − e‖², or the cosine, of every code; differentiable in x and, unless it is frozen, in the table."""
        table = self._whole().detach() if self._frozen else self._whole()
        return similarity(x, table.float(), self.distance)

    def lookup(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape dim"]:
        """Codes → float32 vectors; −1 gives zeros. Differentiable in the table, unless that is frozen."""
        return torch.where((codes < 0)[..., None], 0.0, self.rows(codes.clamp_min(0)))

    def rows(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape dim"]:
        """`lookup` where no code is −1."""
        table = self._whole().detach() if self._frozen else self._whole()
        return F.embedding(codes, table).float()

    @torch.no_grad()
    def initialize(self, batch: JointBatch, provisional: bool = False) -> None:
        """K-means on the first training batch with a real vector, once, if that is how this codebook starts.

        Args:
            batch: the vectors.
            provisional: start for the time being, from a part of a batch that `Learner.apply_learning` will see in full.
        """
        if torch.compiler.is_compiling():  # a graph cannot branch on a value: the branch is inside one operator
            if self.init != "kmeans":
                return
            if self._shard is not None:
                raise RuntimeError("a compiled graph cannot start a codebook that fully_shard has split: fit it before")
            written = (self.weight.detach(), self.usage, self.initialized, self.ema_count, self.ema_sum)
            start_codebook(batch.x, batch.real, *written, self.distance, self.decay)
        elif self.waits() and int(batch.count) > 0:
            self.fit(batch, START_ITERATIONS, weight=start_weight(self.decay))
            self._provisional = provisional

    def waits(self) -> bool:
        """Whether the codebook still waits for its k-means: what the buffer ``initialized`` says, and nothing beside it.

        To read it syncs the device, so a "no" is remembered for as long as the buffer is the same tensor and nobody wrote to it.
        """
        flag = self.initialized
        if flag.is_inference():  # such tensors do not count how often they were written to
            return not bool(flag)
        known = self._known
        if known is not None and known[0] is flag and known[1] == flag._version:
            return False
        waits = not bool(flag)
        self._known = None if waits else (flag, flag._version)
        return waits

    @torch.no_grad()
    def fit(self, batch: JointBatch, iterations: int, reseed: bool = False, weight: float = 1.0) -> None:
        """Replace the table by k-means centroids of the batch; for the weight see `fitted_shares`."""
        self._keep_float32()
        centroids, counts = kmeans(batch, self.num_codes, iterations, self.distance, reseed, self.weight.dtype)
        self._write(centroids)
        if self.ema_count is not None and self.ema_sum is not None:
            self.ema_count.copy_(fitted_shares(counts, weight))
            self.ema_sum.copy_(centroids * self.ema_count[:, None])
        self.usage.fill_(1)
        self.initialized.fill_(True)

    # --- one training step, in three parts between which ranks exchange: `learn_together`

    @torch.no_grad()
    def own_part(self, batch: JointBatch, clusters: Float[Tensor, "codes packed"]) -> list[Float[Tensor, "..."]]:
        """What this rank adds to the sums of a step: clusters (`packed_clusters`); for revival also its count and random numbers."""
        self._keep_float32()
        parts = [clusters]
        if self.revive == "none":
            return parts
        drawn = random_numbers(self.revive, self.anchor, self.num_codes, batch.x)
        return [*parts, batch.own_count(), batch.own_numbers(drawn)]

    def update_from(self, batch: JointBatch | None, parts: list[Float[Tensor, "..."]]) -> Int[Tensor, " codes"] | None:
        """Moving averages, from the sums over ranks; gives the places in the joint batch of vectors that revival wants."""
        assigned, sums = unpacked_clusters(parts[0])
        counts, real = assigned.float(), assigned.sum()
        self._some = some = (real > 0).to(self.usage.dtype)
        share = (1 - self.decay) * some  # 0 for a batch without a real vector, which changes nothing
        if self.ema_count is not None and self.ema_sum is not None:
            scale = weighed_shares(self.ema_count, real)
            self.ema_count.mul_(scale).lerp_(counts, share)
            self.ema_sum.mul_(scale)
            self.ema_sum.lerp_(sums, share)
            total = self.ema_count.sum()
            # after a start the averages hold a fraction of a batch: the same ε would shrink codes that few vectors chose
            epsilon = _EPSILON * (total / real.clamp_min(1)).clamp_max(1)
            smoothed = (self.ema_count + epsilon) / (total + self.num_codes * epsilon) * total
            self.weight.copy_(torch.where(real > 0, self.ema_sum / smoothed[:, None], self.weight))
        if batch is None or self.revive == "none":
            return None
        batch.set_counts(parts[1])
        self.usage.lerp_(counts * (self.num_codes / real.clamp_min(1)), share)
        # to look costs nothing on a CPU; other devices would wait, and other ranks for the rows of this one
        looks = self.revive in REPLACED and batch.alone and self.usage.is_cpu and not torch.compiler.is_compiling()
        if looks and not bool((self.usage < self.restart_threshold).any()):
            return None
        return picked_places(self.revive, self.anchor, batch, parts[2])

    def own_targets(self, batch: JointBatch, places: Int[Tensor, " codes"]) -> Float[Tensor, "codes dim"]:
        """What `vqkit.quantize.revival.own_targets` finds for these codes."""
        return own_targets(self.revive, batch, places, lambda: self._whole().detach().float())

    def revive_from(self, batch: JointBatch | None, rows: Float[Tensor, "codes dim"] | None) -> None:
        """Revival, last, so that what is written is not averaged away; rows are `own_targets` of the places that `update_from` gave."""
        if self.revive in REPLACED and rows is not None:
            dead = (self.usage < self.restart_threshold).to(self.usage.dtype) * self._some
            self._move(rows, dead, replaced=True)
            self.usage.lerp_(torch.ones_like(self.usage), dead)
        elif self.revive == "cvq" and batch is not None:
            alpha = torch.exp(-self.usage * (10 / (1 - self.decay)) - 1e-3) * self._some
            self._move(self._anchors(batch) if rows is None else rows, alpha, replaced=False)

    def _move(self, target: Tensor, share: Tensor, replaced: bool) -> None:
        """Move each code by ``share`` of the way to its target, and its EMA state with it."""
        self._write(target, share[:, None].expand_as(target))
        if self.ema_count is not None and self.ema_sum is not None:
            count = self.ema_count
            if replaced:  # its new place counts as much as one batch, as a start does, so that it follows the vectors that it gets now
                count = torch.where(share > 0, count.mean().clamp_min(1) * start_weight(self.decay), count)
            self.ema_sum.copy_(torch.where(share[:, None] > 0, self.weight.float() * count[:, None], self.ema_sum))
            self.ema_count.copy_(count)

    def _anchors(self, batch: JointBatch) -> Tensor:
        find = batch.closest if self.anchor == "closest" else batch.draw_similar
        return find(self._whole().detach().float(), self.distance)

    def _whole(self) -> Tensor:
        if is_sharded(self.weight):
            if self.exchanging:
                return cast(Any, self.weight).full_tensor()
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
        tables = [] if self.exchanging and is_sharded(self.weight) else [(self._whole(), target, share)]
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
        statistics = [id(self._buffers.get(name)) for name in _STATISTICS]

        def kept(value: Tensor) -> Tensor:
            """``fn`` without its cast where the value is a statistic, which a round trip through half precision would round for good."""
            moved = fn(value)
            return value.to(moved.device) if id(value) in statistics and moved.dtype != value.dtype else moved

        super()._apply(kept, recurse)
        if is_sharded(self.weight):
            self.__dict__["_sharded_weight"] = self.weight
        return self

    def _keep_float32(self) -> None:
        """Bring statistics back that a loader has cast: half precision cannot count, 256 + 1 = 256 in bfloat16."""
        for name in _STATISTICS:
            value = self._buffers.get(name)
            if value is not None and value.dtype != torch.float32:
                setattr(self, name, value.float())
