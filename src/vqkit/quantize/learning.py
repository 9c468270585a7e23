"""When a quantizer learns: freezing, and learning apart from the forward.

A codebook with moving averages, revival or k-means initialisation learns while it quantizes. Two habits of training break that: gradient
accumulation (several small forwards that stand for one batch) and activation checkpointing (every forward runs twice, and the second run
must find the same codes). For both, the inputs of the forwards are kept and learned from later, as one joined batch.
"""

from abc import ABC, abstractmethod
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn

from vqkit.quantize.codebook import Codebook
from vqkit.quantize.joint_step import LearningStep, learn_together
from vqkit.ranks import num_ranks
from vqkit.types import Bool, Float

__all__ = ["Learner", "Step", "refuse_recomputation"]

Step = tuple[Tensor, Tensor, dict[str, Tensor]]
"""What `_quantize` gives: float32 z_q with its gradient, codes, weighted loss terms."""

Gathered = list[tuple[Tensor, Tensor | None]]
"""Inputs of forwards: vectors (batch, *spatial, dim) and mask."""


class Learner(nn.Module, ABC):
    """The part of a quantizer that says when it learns; what learns in `_quantize` asks `learning`.

    Attributes:
        dim: length of the vectors.
    """

    dim: int
    _frozen = False  # nothing of this quantizer changes any more
    _deferred = False  # forwards learn nothing: `apply_learning` will

    def __init__(self) -> None:
        super().__init__()
        self._gathered: Gathered | None = None  # a list where this quantizer's own forward gathers
        self._steps: list[LearningStep] = []  # what its codebook has to learn from the forward at hand

    @abstractmethod
    def _quantize(self, x: Float[Tensor, "*shape dim"], mask: Bool[Tensor, "*shape"] | None) -> Step:
        """Quantize float32 vectors with gradient and losses; while `learning` also learn. Masked x is zero already."""

    @property
    def learning(self) -> bool:
        """Whether a forward now may change tables and statistics: in training, unless frozen or deferred."""
        return self.training and not (self._frozen or self._deferred)

    @property
    def learns_in_forward(self) -> bool:
        """Whether training forwards change tables without a gradient: by moving averages or revival, unless frozen."""
        return any(isinstance(m, Codebook) and m.learns_in_forward and not m.frozen for m in self.modules())

    def freeze(self) -> Self:
        """Stop all learning, also of moving averages and revival, until `unfreeze`; ``train()`` does not undo it.

        Returns:
            The quantizer itself. In training mode it then computes what it computes in evaluation, with losses for the encoder.

        Example:
            >>> import torch
            >>> from vqkit import VQ
            >>> q = VQ(dim=4, codebook_size=8).freeze().train()
            >>> before = q.codebook.weight.clone()
            >>> out = q(torch.randn(2, 5, 4))
            >>> torch.equal(q.codebook.weight, before)
            True
        """
        return self.requires_grad_(False)

    def unfreeze(self) -> Self:
        """Let it learn again."""
        return self.requires_grad_(True)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze or unfreeze: what learns without gradients follows too.

        A model that holds the quantizer reaches only its parameters by its own ``requires_grad_``. That stops codebooks with
        ``update="gradient"`` altogether; for codebooks that learn by moving averages call this, or `freeze`.
        """
        for module in self.modules():
            if hasattr(module, "_frozen"):
                _set(module, _frozen=not requires_grad)
        return super().requires_grad_(requires_grad)

    def defer_learning(self, deferred: bool = True) -> Self:
        """Let forwards only gather what codebooks learn from, until `apply_learning`: for gradient accumulation and checkpointing.

        Then, bit for bit, tables and statistics are those after one forward of the joined batch: k-means, moving averages, restart and
        CVQ alike. Random numbers (stage dropout, draws) are drawn then. A codebook that waits for its k-means is started by the first
        forward for the time being, so that the forwards have codes, and anew from all vectors by `apply_learning`.

        Inputs are kept until then (4·dim bytes a vector) and are not part of the state: apply before you save. Forwards that activation
        checkpointing computes again gather nothing; apply after backward, since they must find the tables that the first ones found.
        Call it of the quantizer whose forward runs, not of its parts.

        Args:
            deferred: False goes back to learning in every forward, and drops what was gathered.

        Returns:
            The quantizer itself.

        Example:
            >>> import torch
            >>> from vqkit import VQ
            >>> quantizer = VQ(dim=4, codebook_size=8).train().defer_learning()
            >>> for micro_batch in torch.randn(4, 1, 64, 4):
            ...     out = quantizer(micro_batch)  # and backward
            >>> quantizer.apply_learning()  # beside optimizer.step()
        """
        for module in self.modules():
            if isinstance(module, Learner):
                _set(module, _deferred=deferred)
        self._gathered = [] if deferred else None
        return self

    @torch.no_grad()
    def apply_learning(self) -> None:
        """Learn once from all forwards since the last call; with several ranks each must call it.

        Raises:
            RuntimeError: learning is not deferred.
        """
        if self._gathered is None:
            raise RuntimeError("learning is not deferred: call defer_learning() before the forwards")
        gathered, self._gathered = self._gathered, []
        if not gathered:
            if num_ranks() == 1:
                return
            gathered = [self._nothing()]  # other ranks have gathered, and what they exchange needs this one
        x, mask = _joined(gathered)
        modes = [(m, m.training, m._deferred) for m in self.modules() if isinstance(m, Learner)]
        for module in self.modules():
            if isinstance(module, Learner):
                _set(module, _deferred=False, training=True)
            elif isinstance(module, Codebook):
                module.exchanging = True
                if module._provisional and not module.frozen:
                    module.initialized.fill_(False)
                    module._provisional = False
        try:
            with torch.autocast(device_type=x.device.type, enabled=False):
                self._forget_steps()
                self._quantize(x, mask)
                self._learn_steps()
        finally:
            for learner, training, deferred in modes:
                _set(learner, _deferred=deferred, training=training)
            for module in self.modules():
                if isinstance(module, Codebook):
                    module.exchanging = False

    def _learn_steps(self) -> None:
        """Let all codebooks learn from the forward at hand, together: search and look-up of all stages come before."""
        learners = [module for module in self.modules() if isinstance(module, Learner) and module._steps]
        steps = [step for learner in learners for step in learner._steps]
        for learner in learners:
            _set(learner, _steps=[])
        if steps:
            learn_together(steps)

    def _forget_steps(self) -> None:
        """Drop what a forward that failed has left."""
        for module in self.modules():
            if isinstance(module, Learner) and module._steps:
                _set(module, _steps=[])

    def _keep_input(self, x: Tensor, mask: Tensor | None) -> None:
        """Keep the input of a training forward, unless it is a recomputation."""
        assert self._gathered is not None
        if not _within_backward():
            self._gathered.append((x.detach().clone(), None if mask is None else mask.clone()))
        elif not self._gathered and any(isinstance(m, Codebook) and m.learns_in_forward for m in self.modules()):
            raise RuntimeError(
                "activation checkpointing computes a forward again that apply_learning() has already learned from, and would find other "
                "codes: call it after backward"
            )

    @property
    def _grid_dims(self) -> int:
        """How many spatial dims the parts that look at neighbours need; 0 where there are none."""
        return max((getattr(module, "spatial_dims", 0) for module in self.modules()), default=0)

    def _nothing(self) -> tuple[Tensor, Tensor]:
        """A batch of one masked vector."""
        device = next(chain(self.parameters(), self.buffers(), [torch.empty(0)])).device
        mask = torch.zeros((1,) * (1 + self._grid_dims), dtype=torch.bool, device=device)
        return torch.zeros(*mask.shape, self.dim, dtype=torch.float32, device=device), mask


def refuse_recomputation() -> None:
    """Refuse to learn from a forward that activation checkpointing runs for the second time.

    Raises:
        RuntimeError: this is such a forward.
    """
    if _within_backward():
        raise RuntimeError(
            "activation checkpointing computes this codebook's forward again, and it would learn twice: call quantizer.defer_learning() "
            "and, after each optimizer step, quantizer.apply_learning(); or leave the quantizer out of the checkpointed part, or "
            "freeze() it"
        )


def _within_backward() -> bool:
    """Whether this code runs inside a backward pass: there a forward is the recomputation of an earlier one."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def _set(module: nn.Module, **flags: Any) -> None:
    vars(module).update(
        flags
    )  # plain attributes: `nn.Module.__setattr__` would look each up among parameters and buffers


def _joined(gathered: Gathered) -> tuple[Tensor, Tensor | None]:
    """One batch of several: padded to the longest where their spatial sizes differ, with a mask that says so.

    Example:
        >>> x, mask = _joined([(torch.ones(1, 2, 4), None), (torch.ones(2, 3, 4), None)])
        >>> x.shape, mask.sum(dim=1).tolist()
        (torch.Size([3, 3, 4]), [2, 3, 3])
    """
    if len({x.ndim for x, _ in gathered}) > 1:  # sequences beside maps: then the layout cannot matter
        gathered = [
            (x.reshape(len(x), -1, x.shape[-1]), None if mask is None else mask.reshape(len(x), -1))
            for x, mask in gathered
        ]
    vectors = [x for x, _ in gathered]
    sizes = [x.shape[1:-1] for x in vectors]
    if all(mask is None for _, mask in gathered) and len(set(sizes)) == 1:
        return torch.cat(vectors), None
    longest = [max(lengths) for lengths in zip(*sizes, strict=True)]
    batch = vectors[0].new_zeros(sum(map(len, vectors)), *longest, vectors[0].shape[-1])
    real = torch.zeros(batch.shape[:-1], dtype=torch.bool, device=batch.device)
    start = 0
    for x, mask in gathered:
        place = (slice(start, start + len(x)), *map(slice, x.shape[1:-1]))
        batch[place] = x
        real[place] = True if mask is None else mask
        start += len(x)
    return batch, real
