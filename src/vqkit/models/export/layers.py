"""Layers whose exported graph is right at every length: twins of those that compute with Python numbers or lose their loop over time.

Transformers' EnCodec pads each convolution by amounts that it computes outside the graph, and PyTorch's exporter unrolls an LSTM over the
frames of its example. The twins give the same values, and hold for any number of samples and items.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers.models.encodec.modeling_encodec import EncodecConv1d

from vqkit.types import Float

__all__ = ["exportable"]


def exportable(model: nn.Module) -> nn.Module:
    """A copy of a model with the twins of its layers, and plain weights in place of parametrized ones.

    Example:
        >>> conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(1, 2, 3))
        >>> sorted(exportable(nn.Sequential(conv)).state_dict())
        ['0.bias', '0.weight']
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            _make_plain(module)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, EncodecConv1d):
                setattr(module, name, PaddedConv1d(child))
            elif isinstance(child, nn.LSTM):
                setattr(module, name, GraphLSTM(child))
    return model


def _make_plain(module: nn.Module) -> None:
    """Remove parametrizations as `parametrize.remove_parametrizations` does, but leave the class that the copied module shares intact."""
    values = {name: getattr(module, name).detach() for name in module.parametrizations}  # type: ignore[union-attr]
    module.__class__ = type(module).__bases__[0]
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value, requires_grad=False))


class PaddedConv1d(nn.Module):
    """EnCodec's convolution; its padding is part of the graph.

    The signal is mirrored at its ends, on the right so far that the last stride is full. One that is shorter than its mirror image is
    first lengthened by zeros.
    """

    def __init__(self, layer: EncodecConv1d) -> None:
        super().__init__()
        self.conv = layer.conv
        self.norm = layer.norm if layer.norm_type == "time_group_norm" else None
        self.stride = layer.conv.stride[0]
        self.padding = (layer.conv.kernel_size[0] - 1) * layer.conv.dilation[0] + 1 - self.stride
        self.causal, self.mode = layer.causal, layer.pad_mode
        if self.mode not in ("reflect", "constant", "replicate"):
            raise ValueError(f"pad_mode {self.mode!r} cannot be exported; allowed: 'reflect', 'constant', 'replicate'")

    def forward(self, hidden_states: Float[Tensor, "batch channels samples"]) -> Float[Tensor, "batch out frames"]:
        """The convolution, and the norm where there is one."""
        samples = hidden_states.shape[-1]
        right = 0 if self.causal else self.padding // 2
        left = self.padding - right
        right = right + (samples + self.stride - 1) // self.stride * self.stride - samples
        place = torch.arange(samples + left + right, device=hidden_states.device) - left
        if self.mode == "reflect":
            last = torch.sym_max(samples, torch.sym_max(left, right) + 1) - 1
            place = last - (last - place.abs()).abs()
        inside = (place >= 0) & (place < samples)
        padded = hidden_states[..., place.clamp(min=0).clamp(max=samples - 1)]
        out: Tensor = self.conv(padded if self.mode == "replicate" else torch.where(inside, padded, 0.0))
        return out if self.norm is None else self.norm(out)


class GraphLSTM(nn.Module):
    """Unidirectional LSTM as ONNX's operator of that name; only for export."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        if layer.bidirectional or layer.batch_first or not layer.bias or layer.proj_size:
            raise ValueError(f"only an LSTM of one direction with biases, time first, can be exported, got {layer}")
        self.hidden_size, self.num_layers = layer.hidden_size, layer.num_layers
        for index in range(layer.num_layers):
            parts: list[Any] = [getattr(layer, f"{kind}_l{index}").detach() for kind in ("weight_ih", "weight_hh")]
            biases = [_reordered(getattr(layer, f"{kind}_l{index}").detach()) for kind in ("bias_ih", "bias_hh")]
            self.register_buffer(f"input_{index}", _reordered(parts[0])[None])
            self.register_buffer(f"recurrent_{index}", _reordered(parts[1])[None])
            self.register_buffer(f"bias_{index}", torch.cat(biases)[None])

    def forward(self, hidden_states: Float[Tensor, "frames batch dim"]) -> tuple[Float[Tensor, "frames batch dim"]]:
        """The outputs; in a tuple, as of PyTorch's."""
        for index in range(self.num_layers):
            weights = [getattr(self, f"{kind}_{index}") for kind in ("input", "recurrent", "bias")]
            frames, batch = hidden_states.shape[:2]
            hidden_states = torch.onnx.ops.symbolic(
                "LSTM",
                [hidden_states, *weights],
                {"hidden_size": self.hidden_size},
                dtype=hidden_states.dtype,
                shape=(frames, 1, batch, self.hidden_size),
            ).squeeze(1)
        return (hidden_states,)


def _reordered(gates: Tensor) -> Tensor:
    """PyTorch's order of the gates (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    first, forget, cell, output = gates.chunk(4)
    return torch.cat([first, output, forget, cell])
