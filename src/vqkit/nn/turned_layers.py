"""Linear layers and convolutions that give, or take, vectors turned by a rotation, so that a network around them stays the same."""

import torch
from torch import Tensor, nn

from vqkit.nn.wide import wide
from vqkit.types import Float

__all__ = ["check_rotation", "turn_inputs", "turn_outputs", "turned"]


def check_rotation(rotation: Tensor, dim: int) -> None:
    """Refuse what is not an orthonormal matrix of the given number of rows.

    Raises:
        ValueError: another shape, or not orthonormal.
    """
    if rotation.shape != (dim, dim) or (rotation @ rotation.T - torch.eye(dim).to(rotation)).abs().max() > 1e-3:
        raise ValueError(f"rotation must be orthonormal and ({dim}, {dim}), got shape {tuple(rotation.shape)}")


def turned(equation: str, weight: Tensor, rotation: Float[Tensor, "dim dim"]) -> Tensor:
    """``einsum`` of weights and a rotation of any dtype and device, rounded once to the dtype of the weights."""
    exact = wide(weight)
    return torch.einsum(equation, exact, rotation.to(exact)).to(weight.dtype)


@torch.no_grad()
def turn_outputs(layer: nn.Module, rotation: Float[Tensor, "dim dim"]) -> None:
    """Let a layer give ``y @ rotation`` where it gave y.

    Args:
        layer: an ``nn.Linear``, or an ``nn.Conv2d`` or ``nn.Conv3d`` without groups.
        rotation: orthonormal, of as many rows as the layer has outputs.

    Raises:
        TypeError: another layer.

    Example:
        >>> layer, x, rotation = nn.Linear(3, 2), torch.rand(3), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> y = layer(x)
        >>> turn_outputs(layer, rotation)
        >>> torch.allclose(layer(x), y @ rotation)
        True
    """
    if not isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d):
        raise TypeError(f"layer must be a Linear, a Conv2d or a Conv3d, got {type(layer).__name__}")
    layer.weight.copy_(turned("o...,op->p...", layer.weight, rotation))
    if layer.bias is not None:
        layer.bias.copy_(turned("o,op->p", layer.bias, rotation))


@torch.no_grad()
def turn_inputs(layer: nn.Module, rotation: Float[Tensor, "dim dim"]) -> None:
    """Let a layer take ``x @ rotation`` as it took x.

    Args:
        layer: an ``nn.Linear``, or an ``nn.Conv2d``, ``nn.Conv3d`` or ``nn.ConvTranspose2d`` without groups.
        rotation: orthonormal, of as many rows as the layer has inputs.

    Raises:
        TypeError: another layer.

    Example:
        >>> layer, x, rotation = nn.Linear(2, 3), torch.rand(2), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> y = layer(x)
        >>> turn_inputs(layer, rotation)
        >>> torch.allclose(layer(x @ rotation), y)
        True
    """
    if isinstance(layer, nn.ConvTranspose2d):
        layer.weight.copy_(turned("i...,ip->p...", layer.weight, rotation))
    elif isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d):
        layer.weight.copy_(turned("oi...,ip->op...", layer.weight, rotation))
    else:
        raise TypeError(f"layer must be a Linear, a Conv2d, a Conv3d or a ConvTranspose2d, got {type(layer).__name__}")
