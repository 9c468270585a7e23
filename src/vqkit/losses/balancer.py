"""Weights of losses that mean what they say: each loss's share of the gradient at the output.

References:
    Défossez et al., "EnCodec" (2022), arXiv:2210.13438, section 3.4, eq. 5.
"""

import math
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vqkit.ranks import mean_over_ranks
from vqkit.types import Float

__all__ = ["Balancer"]


class Balancer(nn.Module):
    """Replace losses on a model's output by one whose gradient there is  Σ_i R · λ_i / Σ λ · g_i / ⟨‖g_i‖⟩.

    g_i is the gradient of loss i at the output, ‖g_i‖ its norm for each item of the batch, averaged over items, and ⟨·⟩ a moving average
    over steps. So a loss's share does not change when it is multiplied by a constant. Norms are averaged over ranks: several ranks scale
    as one would on the joined batch. Where a loss's gradient is NaN or infinite, so is the balanced one; the averages stay as they were,
    so that whoever skips the step goes on as though it had not been. The first such loss of a balancer is named in a warning.

    Args:
        weights: λ of each loss by its name.
        total_norm: R, the norm of an item's gradient if all losses pull the same way.
        decay: decay of the moving averages, with correction for their start.

    Raises:
        ValueError: no weights, a weight that is not positive, or decay outside [0, 1).

    Example:
        >>> balancer = Balancer({"near": 1.0, "far": 3.0})
        >>> output = torch.zeros(1, 4, requires_grad=True)
        >>> loss = balancer({"near": (output - 1).square().mean(), "far": 1000 * (output + 1).square().mean()}, output)
        >>> loss.backward()
        >>> output.grad  # (3 − 1) / 4 of a unit vector
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def __init__(self, weights: Mapping[str, float], *, total_norm: float = 1.0, decay: float = 0.999) -> None:
        super().__init__()
        if not weights or any(not weight > 0 for weight in weights.values()):
            raise ValueError(f"weights must be positive, at least one, got {dict(weights)}")
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.weights, self.total_norm, self.decay = dict(weights), total_norm, decay
        self._warned = False
        self.average: Tensor
        self.seen: Tensor
        self.register_buffer("average", torch.zeros(len(weights)))
        self.register_buffer("seen", torch.zeros(len(weights)))

    def forward(self, losses: Mapping[str, Tensor], output: Float[Tensor, "batch *shape"]) -> Tensor:
        """Build the balanced loss; in training also update the moving averages.

        Args:
            losses: scalars by name, all or some of those weighted, each computed from ``output``.
            output: what the losses were computed from; part of the graph of the model's parameters.

        Returns:
            A scalar to call ``backward`` on; its value has no meaning, its gradient has.

        Raises:
            ValueError: a loss without a weight.
        """
        unknown = sorted(losses.keys() - self.weights.keys())
        if unknown or not losses:
            raise ValueError(f"losses must be among {', '.join(self.weights)}, got {', '.join(losses) or 'none'}")
        gradients = {
            name: torch.autograd.grad(loss, output, retain_graph=True)[0].float() for name, loss in losses.items()
        }
        norms = mean_over_ranks(
            torch.stack([gradient.flatten(start_dim=1).norm(dim=1).mean() for gradient in gradients.values()])
        )
        places = torch.tensor([list(self.weights).index(name) for name in losses], device=self.average.device)
        if self.training:
            finite = norms.isfinite().all()  # one NaN would stay in an average for ever
            if not self._warned and not bool(finite):
                self._warned = True
                bad = next(
                    name for name, norm in zip(gradients, norms.tolist(), strict=True) if not math.isfinite(norm)
                )
                warnings.warn(
                    f"the gradient of loss {bad!r} is not finite: the balancer's averages stay as they were, skip the step (said once)",
                    stacklevel=2,
                )
            for kept, new in ((self.average, norms.to(self.average)), (self.seen, torch.ones_like(self.seen[places]))):
                before = kept[places]
                kept[places] = torch.where(finite, before * self.decay + new * (1 - self.decay), before)
        typical = self.average[places] / self.seen[places].clamp_min(1e-12)
        share = torch.tensor([self.weights[name] for name in losses], device=typical.device)
        scale = self.total_norm * share / share.sum() / (typical + 1e-12)
        pull = torch.zeros_like(output, dtype=torch.float32)
        for gradient, factor in zip(gradients.values(), scale, strict=True):
            pull = pull + gradient * factor
        return (output.float() * pull).sum() / output.shape[0]
