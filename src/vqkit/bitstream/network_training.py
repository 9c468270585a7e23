"""The network model in floating point, as it is trained: first without rounding, then with every number on its grid of integers.

Rounding is in the forward pass only, and gradients pass straight through it. `RoundedNetwork.integers` writes the numbers down.

References:
    Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference" (2018), arXiv:1712.05877,
    section 3.
"""

from collections.abc import Sequence
from math import log, log2

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.bitstream.network_layers import (
    LARGEST_ACTIVATION,
    LARGEST_BIAS,
    LARGEST_WEIGHT,
    LOGIT_BITS,
    CodeNetwork,
    Layer,
)
from vqkit.bitstream.network_model import NetworkModel, own_offsets, slots

__all__ = ["RoundedNetwork"]

_VECTOR_BITS = 10  # a code vector counts 1024ths, an activation 32nds
_ACTIVATION_BITS = 5
_LARGEST_VECTOR = (1 << 15) - 1
_RATE = 3e-3  # learning rate of the hidden layers
_TABLE_RATE = 1e-3  # of what has a row for each code, which few frames reach
_RANDOM_TABLE_RATE = 5e-3  # of the same from a random start, which has further to go


class _CodeNetwork(nn.Module):
    """The network of one code in floating point, with the code's vectors; rounded once its digits were chosen.

    Args:
        vectors: code vectors to begin with.
        out: output weights to begin with, ``(width, code_size)``.
        share: how often each code occurs.
        inputs: inputs of the first layer.
    """

    def __init__(self, vectors: Tensor, out: Tensor, share: Tensor, inputs: int) -> None:
        super().__init__()
        self.vectors, self.out = nn.Parameter(vectors), nn.Parameter(out)
        self.first, self.second = nn.Linear(inputs, len(out)), nn.Linear(len(out), len(out))
        self.bias = nn.Parameter(share.log2() - share.log2().max())  # logits count octaves
        self.digits: tuple[int, int, int] | None = None  # binary digits behind the point that weights keep

    def choose_digits(self) -> None:
        """Fix the grids of the weights by their size."""
        self.digits = (_digits(self.first.weight), _digits(self.second.weight), _digits(self.out))

    def table(self) -> Tensor:
        """Code vectors."""
        return self.vectors if self.digits is None else _rounded(self.vectors, _VECTOR_BITS, _LARGEST_VECTOR)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, in octaves."""
        most = LARGEST_ACTIVATION / 2**_ACTIVATION_BITS
        weights: tuple[Tensor, Tensor, Tensor] = (self.first.weight, self.second.weight, self.out)
        one, two, three = weights
        if self.digits is None:
            hidden = functional.linear(inputs, one, self.first.bias).clamp(0, most)
            return functional.linear(hidden, two, self.second.bias).clamp(0, most) @ three + self.bias
        one, two, three = (_rounded(w, d, LARGEST_WEIGHT) for w, d in zip(weights, self.digits, strict=True))
        hidden = functional.linear(inputs, one, self.first.bias).clamp(0, most)
        hidden = functional.linear(_rounded(hidden, _ACTIVATION_BITS), two, self.second.bias).clamp(0, most)
        return _rounded(_rounded(hidden, _ACTIVATION_BITS) @ three + self.bias, LOGIT_BITS)

    def integers(self) -> tuple[np.ndarray, CodeNetwork]:
        """Code vectors and network in whole numbers."""
        assert self.digits is not None, "no grids were chosen"
        one, two, three = self.digits
        # a product has the digits of both factors; the shift takes away those that the next layer's grid lacks
        return _integers(self.vectors, _VECTOR_BITS, _LARGEST_VECTOR).astype(np.int16), CodeNetwork(
            _layer(self.first.weight.T, self.first.bias, one, _VECTOR_BITS, _ACTIVATION_BITS),
            _layer(self.second.weight.T, self.second.bias, two, _ACTIVATION_BITS, _ACTIVATION_BITS),
            _layer(self.out, self.bias, three, _ACTIVATION_BITS, LOGIT_BITS),
        )


class RoundedNetwork(nn.Module):
    """The networks of all codes that have a table.

    Args:
        code_sizes: alphabet of each code of a frame.
        counts: for each code that has a table, by its position, how often its values occur.
        vectors: for each code what its values add to the latent, to start from; None starts at random.
        dim: length of a code vector.
        width: outputs of the hidden layers.
        grid: whether rows above and below are inputs.
    """

    def __init__(
        self,
        code_sizes: Sequence[int],
        counts: dict[int, Tensor],
        vectors: Sequence[Tensor] | None,
        dim: int,
        width: int,
        grid: bool,
    ) -> None:
        super().__init__()
        self.sizes, self.dim, self.width, self.grid = tuple(code_sizes), dim, width, grid
        self.owns = len(own_offsets(0, grid))
        # half a count more, so that no code is impossible
        shares = {i: (count + 0.5) / (count + 0.5).sum() for i, count in counts.items()}
        starts, outs = _starts(None if vectors is None else {i: vectors[i] for i in shares}, shares, dim, width)
        made = {i: _CodeNetwork(starts[i], outs[i], shares[i], slots(grid) * dim) for i in shares}
        self.networks = [made.get(i) for i in range(len(code_sizes))]
        self.parts = nn.ModuleList(made.values())
        self.table_rate = _RANDOM_TABLE_RATE if vectors is None else _TABLE_RATE

    def groups(self) -> list[dict]:
        """Parameters for the optimizer."""
        made = [network for network in self.networks if network is not None]
        tables = [table for network in made for table in (network.vectors, network.out, network.bias)]
        hidden = [p for network in made for layer in (network.first, network.second) for p in layer.parameters()]
        return [
            {"params": tables, "lr": self.table_rate, "weight_decay": 0.0},
            {"params": hidden, "lr": _RATE, "weight_decay": 0.05},
        ]

    def choose_grids(self) -> None:
        """Fix the integer grids of all networks: from now on their numbers are rounded."""
        for network in self.networks:
            if network is not None:
                network.choose_digits()

    def forward(self, around: Tensor, there: Tensor, target: Tensor) -> Tensor:
        """Bits of a frame's codes, mean over the frames.

        Args:
            around: codes of the frames around each, (frames, slots, num_codes), in the order of the offsets.
            there: True where such a frame exists, (frames, slots).
            target: codes to predict, (frames, num_codes).
        """
        last = torch.zeros(len(target), there.shape[1], self.dim)  # sums up to the code before, of the frames around
        now = before_last = torch.zeros(
            len(target), self.dim
        )  # of the frame itself up to the code before, and to that before it
        bits = torch.zeros(())
        for i, network in enumerate(self.networks):
            if network is not None:
                table = network.table()
                own = last + functional.embedding(around[..., i], table) * there[..., None]
                inputs = [own[:, : self.owns].flatten(1), last[:, self.owns :].flatten(1), before_last]
                logits = network(torch.cat(inputs, dim=1))
                bits = bits + functional.cross_entropy(logits * log(2), target[:, i]) / log(2)
                last, before_last, now = own, now, now + functional.embedding(target[:, i], table)
            else:
                before_last = now
        return bits

    @torch.no_grad()
    def integers(self) -> NetworkModel:
        """The model in whole numbers."""
        found = [(None, None) if network is None else network.integers() for network in self.networks]
        vectors, networks = ([pair[n] for pair in found] for n in (0, 1))
        return NetworkModel(self.sizes, vectors, networks, dim=self.dim, width=self.width, grid=self.grid)  # type: ignore[arg-type]


def _starts(
    vectors: dict[int, Tensor] | None, shares: dict[int, Tensor], dim: int, width: int
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Code vectors ``(code_size, dim)`` and output weights ``(width, code_size)`` to begin with.

    Codes whose vectors are similar then get similar inputs and similar outputs before a step is taken: rare codes profit from what is
    learned of others. With Gaussian residuals a code's logit is linear in its vector and in the vector's squares.
    """
    if vectors is None:
        starts = {i: 0.3 * torch.randn(len(share), dim) for i, share in shares.items()}
        return starts, {i: 0.02 * torch.randn(width, len(share)) for i, share in shares.items()}
    centred = {i: vectors[i].float() - shares[i] @ vectors[i].float() for i in shares}
    spread = sum((centred[i] * shares[i][:, None]).T @ centred[i] for i in shares)
    assert isinstance(spread, Tensor)
    scale = (spread.diagonal().mean()).clamp_min(1e-12).rsqrt()
    axes = torch.linalg.eigh(spread).eigenvectors.flip(1)[:, :dim]
    starts, outs = {}, {}
    for i, share in shares.items():
        start = torch.zeros(len(share), dim)
        start[:, : axes.shape[1]] = centred[i] @ axes * scale
        starts[i] = start
        own = torch.linalg.eigh((centred[i] * share[:, None]).T @ centred[i]).eigenvectors.flip(1)
        linear = centred[i] @ own[:, : max(1, width * 3 // 4)]
        linear = linear / linear.square().mean().sqrt().clamp_min(1e-6)
        square = linear.square()
        features = torch.cat([linear, square.mean(1, keepdim=True) - 1, square[:, : width // 8] - 1], dim=1)[:, :width]
        turn = torch.linalg.qr(torch.randn(width, width)).Q[: features.shape[1]]
        outs[i] = 0.2 * (features @ turn).T
    return starts, outs


def _digits(weight: Tensor) -> int:
    """Binary digits behind the point that weights keep, so that the largest, and half as much again, has 7 bits."""
    largest = max(float(weight.detach().abs().max()), 1e-3)
    return max(0, min(12, int(log2(LARGEST_WEIGHT / largest / 1.5) // 1)))


def _rounded(values: Tensor, digits: int, largest: int | None = None) -> Tensor:
    """Values on a grid, with the gradient of the values themselves; halves go up, as they do in a shift."""
    scaled = (values.detach() * 2**digits + 0.5).floor()
    if largest is not None:
        scaled = scaled.clamp(-largest, largest)
    return values + (scaled / 2**digits - values.detach())


def _integers(values: Tensor, digits: int, largest: int) -> np.ndarray:
    found: np.ndarray = (values.double() * 2**digits + 0.5).floor().clamp(-largest, largest).long().numpy()
    return found


def _layer(weight: Tensor, bias: Tensor, digits: int, inputs: int, outputs: int) -> Layer:
    return Layer(
        _integers(weight, digits, LARGEST_WEIGHT).astype(np.int8),
        _integers(bias, digits + inputs, LARGEST_BIAS).astype(np.int32),
        digits + inputs - outputs,
    )
