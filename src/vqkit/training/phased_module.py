"""Training in phases, one step at a time: what reconstruction, pretraining and generators share.

phase of the step ─ entered? (freeze, new optimizer, entry actions) ─ losses of the batch ─ gradient, clipped ─ AdamW
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from vqkit.models.hub import HubModel
from vqkit.quantize import Quantizer
from vqkit.quantize.sharding import is_sharded
from vqkit.training.optimisation import Optimisation
from vqkit.training.phase import EntryAction, Phase, Span, spans
from vqkit.training.runs.split_weights import release

__all__ = ["PhasedModule", "Split"]


@dataclass(frozen=True)
class Split:
    """A module whose weights FSDP splits over ranks, and when they are gathered.

    Args:
        module: it; large blocks in lists of layers inside of it are gathered one by one.
        methods: methods besides ``forward`` that a step calls: the weights are whole only within them.
        kept: keep the weights whole from forward to backward, for who needs a gradient at one of them.
    """

    module: nn.Module
    methods: tuple[str, ...] = ()
    kept: bool = False


class PhasedModule(LightningModule):
    """Base of all trainings; optimises by hand, since phases and adversaries have optimizers of their own.

    A subclass implements `models`, `networks`, `quantizer_parameters` and `learn`. A run that is interrupted in any phase goes on in it,
    bit for bit: what a phase freezes follows from the step, and optimizers are in the checkpoint.

    Attributes:
        usage_advice: a line on codes that the last validation did not use, if there were many; `vqkit train` ends with it.

    Args:
        phases: phases in order; see `Phase`.
        optimisation: settings of all phases that have none of their own.
    """

    automatic_optimization: bool
    usage_advice: str | None = None

    def __init__(self, phases: Sequence[Phase], optimisation: Optimisation) -> None:
        super().__init__()
        if not phases:
            raise ValueError("a training needs at least one phase")
        self.automatic_optimization = False
        self.phases, self.optimisation = tuple(phases), optimisation
        self._frozen_for: Phase | None = None

    # --- what a subclass defines

    @abstractmethod
    def models(self) -> Mapping[str, HubModel]:
        """What the run saves: models by the names of their folders. The first is the one whose weights may be averaged."""

    @abstractmethod
    def networks(self) -> list[nn.Parameter]:
        """Parameters that decay."""

    @abstractmethod
    def quantizer_parameters(self) -> list[nn.Parameter]:
        """Parameters of quantizers, which never decay and may have a learning rate of their own."""

    @abstractmethod
    def learn(self, batch: Any, step: int, phase: Any) -> None:
        """One step of a phase: compute losses, and call `descend`."""

    def start(self, batch: Any) -> None:
        """What happens before the first step of a run, with its first batch."""

    def splits(self) -> Sequence[Split]:
        """What ``strategy="fsdp"`` splits over ranks: all that learns; by default the models, which a step calls by ``forward`` only."""
        return [Split(model) for model in self.models().values()]

    def learns_without_gradient(self, phase: Any) -> bool:
        """Whether a step of a phase learns although its loss reaches no parameter: by moving averages of a quantizer in training."""
        return any(isinstance(module, Quantizer) and module.learns_in_forward for module in self.modules())

    # --- what they share

    def whole(self, saving: bool = False) -> AbstractContextManager[None]:
        """Inside, the models hold all their weights, of which FSDP leaves a rank only parts; all ranks have to enter.

        What a phase does on entry and on exit happens inside, as `start` does.

        Args:
            saving: nothing is changed, and only the first rank needs the weights.
        """
        strategy: Any = getattr(self._trainer, "strategy", None)
        return strategy.whole(self, saving) if hasattr(strategy, "whole") else nullcontext()

    @property
    def model(self) -> Any:
        """The model that the run is for."""
        return next(iter(self.models().values()))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW, with a group of networks and one of quantizers."""
        how = self.optimisation
        groups: list[dict[str, Any]] = [{"params": self.networks(), "weight_decay": how.weight_decay}]
        if parameters := self.quantizer_parameters():
            groups.append({"params": parameters, "weight_decay": 0.0})
        return [torch.optim.AdamW(groups, lr=how.learning_rate, betas=how.betas)]

    def span(self, step: int) -> Span:
        """The phase of a step, and where it lies in the run."""
        laid_out = spans(self.phases, int(self.trainer.num_training_batches))
        return next(span for span in reversed(laid_out) if span.first <= step)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step, after what its phase does on entry and before what it does on exit."""
        optimizers = self._optimizers()
        if batch_idx == 0:
            with self.whole():
                self.start(batch)
        span = self.span(batch_idx)
        self._freeze(span.phase)
        if batch_idx == span.first:
            if span.phase.optimisation is not None:
                _renew(optimizers[0], span.phase.optimisation)
            self._act(span.phase.on_entry)
        self.rate_share = self._set_learning_rates(optimizers, span, batch_idx)
        self.learn(batch, batch_idx, span.phase)
        if batch_idx + 1 == span.first + span.steps:
            self._act(span.phase.on_exit)

    def _act(self, actions: Sequence[EntryAction]) -> None:
        if actions:
            with self.whole():
                for action in actions:
                    action(self)

    def descend(self, loss: Tensor, parameters: Iterable[nn.Parameter], step: int, optimizer: int = 0) -> Tensor:
        """Follow the gradient of a loss by one step of an optimizer.

        Args:
            loss: scalar.
            parameters: whose gradient is clipped together; an iterator is read after the backward pass, when FSDP has put the parts of
                the weights, which have the gradients, back in the place of the gathered ones.
            step: the step, for the message.
            optimizer: index in `configure_optimizers`.

        Returns:
            Norm of the gradient before clipping; 0 where the loss reaches no parameter that may learn.

        Raises:
            RuntimeError: the gradient is not finite; nothing has changed.
            ValueError: the loss has no gradient, and nothing learns without one.
        """
        chosen = self._optimizers()[optimizer]
        chosen.zero_grad()
        if not loss.requires_grad:
            phase = self.span(step).phase
            if optimizer == 0 and not self.learns_without_gradient(phase):
                raise ValueError(
                    f"nothing learns in phase {phase.name!r}: its loss reaches no parameter that may learn, and no codebook learns by "
                    "moving averages"
                )
            chosen.step()  # changes nothing, but Lightning counts the steps of optimizers
            return torch.zeros_like(loss)
        self.manual_backward(loss)
        clip = (self.span(step).phase.optimisation or self.optimisation).gradient_clip
        norm: Any = nn.utils.clip_grad_norm_(parameters, clip)
        if is_sharded(norm):
            norm = norm.full_tensor()
        if not torch.isfinite(norm):
            raise RuntimeError(f"the gradient of step {step} is not finite: lower learning_rate, or raise warmup_steps")
        chosen.step()
        found: Tensor = norm
        return found

    def _optimizers(self) -> list[Any]:
        found: Any = self.optimizers(use_pl_optimizer=True)
        return found if isinstance(found, list) else [found]

    def _freeze(self, phase: Phase) -> None:
        """Let only those parts learn that the phase names; done once for each phase, also after a resume."""
        if self._frozen_for is phase:
            return
        self._frozen_for = phase
        if all(other.trains is None for other in self.phases):
            return
        release(self)  # a gathered weight would forget that it is frozen
        learning = [self] if phase.trains is None else [self.get_submodule(name) for name in phase.trains]
        kept = {id(module) for part in learning for module in part.modules()}
        wanted = {id(parameter) for part in learning for parameter in part.parameters()}
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in wanted)
        for module in self.modules():
            if isinstance(module, Quantizer):
                getattr(module, "unfreeze" if id(module) in kept else "freeze")()

    def _set_learning_rates(self, optimizers: list[Any], span: Span, step: int) -> float:
        own = span.phase.optimisation
        how = own or self.optimisation
        steps = int(self.trainer.num_training_batches)
        share = how.share(step - span.first, span.steps) if own else how.share(step, steps)
        for group, peak in zip(optimizers[0].param_groups, how.peaks, strict=False):
            group["lr"] = peak * share
        return share


def _renew(optimizer: Any, how: Optimisation) -> None:
    """Forget the moments, and take over the settings of a phase."""
    optimizer.state.clear()
    for index, group in enumerate(optimizer.param_groups):
        group["betas"], group["weight_decay"] = how.betas, how.weight_decay if index == 0 else 0.0
