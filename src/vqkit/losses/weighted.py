"""Distances with weights: what a model that reconstructs is trained on, beside its quantizer's losses."""

from collections.abc import Callable, Iterator, Sequence
from typing import Self

from torch import Tensor, nn

__all__ = ["WeightedLoss", "WeightedLosses"]


class WeightedLoss:
    """A distance of estimate and reference, with its name in logs and its weight.

    Args:
        name: name in logs.
        distance: a module that takes (estimate, reference); where it gives several numbers, such as one an item, their mean counts. Any
            will do: `torch.nn.L1Loss`, `vqkit.losses.MultiScaleMel`, `vqkit.nn.PerceptualDistance`.
        weight: positive factor, or share of the gradient where the training is balanced.

    A distance given in evaluation mode, such as one with a trained trunk, stays in it; nothing of a distance is trained.

    Raises:
        ValueError: a weight that is not positive.
    """

    def __init__(self, name: str, distance: nn.Module, weight: float = 1.0) -> None:
        if not weight > 0:
            raise ValueError(f"weight of {name} must be positive, got {weight}: leave the loss out instead")
        self.name, self.distance, self.weight = name, distance.requires_grad_(False), weight
        self.has_modes = distance.training


class WeightedLosses:
    """Several weighted losses; no module, so that a trunk that is not trained fills no checkpoint.

    Args:
        losses: losses of different names, at least one.

    Raises:
        ValueError: no loss, or two of one name.

    Example:
        >>> import torch
        >>> losses = WeightedLosses([WeightedLoss("l1", nn.L1Loss(), 2.0)])
        >>> losses(torch.zeros(3), torch.ones(3)), losses.weights
        ({'l1': tensor(1.)}, {'l1': 2.0})
    """

    def __init__(self, losses: Sequence[WeightedLoss]) -> None:
        names = [loss.name for loss in losses]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"at least one loss is needed, and each needs a name of its own, got {names}")
        self.losses = tuple(losses)

    @property
    def weights(self) -> dict[str, float]:
        """Weights by name."""
        return {loss.name: loss.weight for loss in self.losses}

    def __iter__(self) -> Iterator[WeightedLoss]:
        return iter(self.losses)

    def __call__(self, estimate: Tensor, reference: Tensor) -> dict[str, Tensor]:
        """Unweighted losses by name, in float32."""
        return {loss.name: loss.distance(estimate.float(), reference.float()).mean() for loss in self.losses}

    def apply_to_tensors(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Move the distances' tensors, as `torch.nn.Module.to` does."""
        for loss in self.losses:
            loss.distance._apply(function)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set the distances' mode: some draw a part of their work at random in training."""
        for loss in self.losses:
            if loss.has_modes:
                loss.distance.train(mode)
        return self
