"""Start convolutions at unit scale, measured on data.

PyTorch's default start makes a deep stack of convolutions fade the signal (each layer to about 1/√3) while biases stay: the latents of
EnCodec's encoder then vary by less than a tenth of their size, training finds the sound that fits all inputs best, and the latents never
come alive. Scaling each layer by what it makes of a batch avoids it.

References:
    Salimans & Kingma, "Weight normalization" (2016), arXiv:1602.07868, section 3; Mishkin & Matas, "All you need is a good init" (2015),
    arXiv:1511.06422 (one scale a layer, as here).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["scale_convolutions"]

_KINDS = (nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d)


@torch.no_grad()
def scale_convolutions(
    module: nn.Module, run: Callable[[], Any], mean: Callable[[Tensor], Tensor] = lambda value: value
) -> int:
    """Scale the weights of every convolution so that its output has standard deviation one, and set its bias to zero.

    Args:
        module: holds the convolutions, weight-normed or plain.
        run: computes ``module`` on a batch; every layer sees the layers before it scaled already.
        mean: averages a tensor over processes, so that all scale alike.

    Returns:
        How many convolutions were scaled.

    Raises:
        ValueError: a layer's output is constant, as on a silent batch; nothing is changed then.

    Example:
        >>> layer = nn.Conv1d(1, 8, 3)
        >>> x = torch.randn(4, 1, 100)
        >>> scale_convolutions(layer, lambda: layer(x))
        1
        >>> round(layer(x).std().item(), 3)
        1.0
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _KINDS)]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    scaled = 0

    def scale(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        nonlocal scaled
        first, second = mean(torch.stack([output.float().mean(), output.float().square().mean()]))
        deviation = (second - first.square()).clamp_min(0).sqrt()
        if not deviation > 1e-8:
            raise ValueError(
                "cannot scale the convolutions on this batch: a layer's output is constant (is it silent?)"
            )
        factor = (1 / deviation).to(output.dtype)
        _gain(layer).mul_(factor)
        scaled += 1
        return output * factor

    for layer in layers:
        if layer.bias is not None:
            layer.bias.zero_()
    handles = [layer.register_forward_hook(scale) for layer in layers]
    try:
        run()
    except BaseException:
        module.load_state_dict(before)
        raise
    finally:
        for handle in handles:
            handle.remove()
    return scaled


def _gain(layer: nn.Module) -> Tensor:
    """Return the tensor that scales a layer's output: the gain of a weight-normed layer, else the weight."""
    parametrizations: Any = getattr(layer, "parametrizations", None)
    weight: Any = layer.weight
    return weight if parametrizations is None else parametrizations.weight.original0
