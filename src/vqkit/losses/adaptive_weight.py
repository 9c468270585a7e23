"""VQGAN's weight of the adversarial loss: as strong at the decoder's last layer as the reconstruction loss.

References:
    Esser et al., "Taming transformers for high-resolution image synthesis" (2021), arXiv:2012.09841, eq. 7.
"""

import torch
from torch import Tensor

from vqkit.ranks import mean_over_ranks

__all__ = ["adaptive_weight"]


def adaptive_weight(reconstruction_loss: Tensor, adversarial_loss: Tensor, last_layer: Tensor) -> Tensor:
    """λ = ‖∇ L_rec‖ / (‖∇ L_gan‖ + 1e-6) in [0, 1e4], with gradients at the weights of the decoder's last layer.

    Gradients are averaged over ranks first, so that all ranks get the λ of their joined batch. Both graphs are kept for ``backward``.

    Args:
        reconstruction_loss: scalar; with the perceptual term, if there is one.
        adversarial_loss: scalar, the generator's.
        last_layer: parameter both depend on.

    Returns:
        λ, a scalar without gradient.

    Raises:
        ValueError: a loss does not depend on ``last_layer``.

    Example:
        >>> weight = torch.tensor([2.0], requires_grad=True)
        >>> round(adaptive_weight((3 * weight).sum(), (0.5 * weight).sum(), weight).item(), 3)
        6.0
    """
    norms = [
        _gradient(name, loss, last_layer).norm()
        for name, loss in (("reconstruction_loss", reconstruction_loss), ("adversarial_loss", adversarial_loss))
    ]
    return (norms[0] / (norms[1] + 1e-6)).clamp(0, 1e4)


def _gradient(name: str, loss: Tensor, last_layer: Tensor) -> Tensor:
    gradient = None
    if loss.requires_grad and last_layer.requires_grad:
        (gradient,) = torch.autograd.grad(loss, last_layer, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ValueError(
            f"{name} must depend on last_layer of shape {tuple(last_layer.shape)}, it has no gradient there"
        )
    return mean_over_ranks(gradient.detach().float())
