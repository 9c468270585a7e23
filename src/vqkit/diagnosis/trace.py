"""What reaches the codebooks and the products inside a quantizer, measured while it encodes.

Nothing is stored but sums: a residual quantizer of many stages would otherwise hold its input once for every stage.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vqkit.quantize import Quantizer
from vqkit.quantize.codebook import Codebook
from vqkit.quantize.product import Product
from vqkit.quantize.search import nearest, plain_paths
from vqkit.types import Float, Int

__all__ = ["BookTrace", "ProductTrace", "Traces", "part_name", "traced"]

_NEAR = 0.01  # codes closer than this share of the error (squared distances) are copies
_MOST_CODES = 4096  # whose neighbours are looked for
_MOST_VECTORS = 4096  # that dead codes are compared with
_PARTS = {"stages": "stage", "pieces": "piece"}


@dataclass
class BookTrace:
    """One codebook, and sums over the vectors that searched it.

    Attributes:
        name: Where it is, such as ``"stage 2, piece 1"``.
        book: The codebook.
        counts: How often each code was chosen.
        sums: Sum of the vectors that chose each code.
        error: Sum of the squared distances from the chosen codes.
        square: Sum of the squared lengths of the vectors.
        total: Sum of the vectors.
        some: A few of the vectors.
        better: Sum of the squared distances from the means of other vectors (see `learned_from`).
        means: The means of these other vectors.
        earlier: How often they chose each code.
    """

    name: str
    book: Codebook
    counts: Int[Tensor, " codes"] = field(init=False)
    sums: Float[Tensor, "codes dim"] = field(init=False)
    total: Float[Tensor, " dim"] = field(init=False)
    error: float = 0.0
    square: float = 0.0
    better: float = 0.0
    some: Tensor | None = None
    means: Float[Tensor, "codes dim"] | None = None
    earlier: Int[Tensor, " codes"] | None = None

    def __post_init__(self) -> None:
        table = self.table
        self.counts = torch.zeros(len(table), dtype=torch.long, device=table.device)
        self.sums, self.total = torch.zeros_like(table), torch.zeros_like(table[0])

    @property
    def table(self) -> Float[Tensor, "codes dim"]:
        """The codes, float32."""
        return self.book.weight.detach().float()

    @property
    def vectors(self) -> int:
        """How many vectors searched."""
        return int(self.counts.sum())

    @property
    def spread(self) -> float:
        """Mean squared distance of the vectors from their mean."""
        count = max(self.vectors, 1)
        return max(self.square / count - float((self.total / count).square().sum()), 0.0)

    @property
    def mean_error(self) -> float:
        """Mean squared distance from the chosen codes."""
        return self.error / max(self.vectors, 1)

    def add(self, x: Tensor, codes: Tensor) -> None:
        """Count vectors and the codes they chose."""
        table = self.table
        self.counts += codes.bincount(minlength=len(table))
        self.sums.index_add_(0, codes, x)
        self.total += x.sum(dim=0)
        self.square += float(x.double().square().sum())
        self.error += float((x - table[codes]).double().square().sum())
        if self.means is not None:
            self.better += float((x - self.means[codes]).double().square().sum())
        if self.some is None:
            self.some = x[:: max(1, len(x) // _MOST_VECTORS)][:_MOST_VECTORS].clone()

    def learned_from(self, other: "BookTrace") -> None:
        """Compare, from now on, with the means of another trace: what one more step of k-means would gain on other vectors."""
        self.earlier = other.counts
        counts = other.counts[:, None]
        self.means = torch.where(counts > 0, other.sums / counts.clamp_min(1), self.table)

    @property
    def dead(self) -> Tensor:
        """Which codes nobody chose, the other vectors included."""
        return self.all_counts == 0

    @property
    def all_counts(self) -> Int[Tensor, " codes"]:
        """How often each code was chosen, by the other vectors as well."""
        return self.counts if self.earlier is None else self.counts + self.earlier

    def at_start(self) -> Tensor:
        """Which codes still lie in the box ±1/K, where a uniform start puts them."""
        return self.table.abs().amax(dim=1) <= (1 + 1e-4) / len(self.table)

    def copies(self) -> Tensor:
        """Which codes (of the first few thousand) have another so close that both cannot be of use."""
        table = self.table
        if len(table) < 2:
            return torch.zeros(len(table), dtype=torch.bool)
        centred = table - table.mean(dim=0)
        square = centred.square().sum(dim=1)
        found = []
        for start in range(0, min(len(table), _MOST_CODES), 1024):
            rows = centred[start : min(start + 1024, _MOST_CODES)]
            distance = square - 2 * rows @ centred.T
            own = torch.arange(len(rows), device=table.device)
            distance[own, own + start] = torch.inf
            # the product rounds where codes almost agree: the nearest is found by it, its distance computed anew
            found.append((rows - centred[distance.argmin(dim=1)]).square().sum(dim=1))
        return torch.cat(found) < _NEAR * max(self.mean_error, 1e-30)

    def far(self) -> Tensor:
        """Which dead codes lie more than three times further from every vector than vectors lie from their codes."""
        if self.some is None or not self.dead.any():
            return torch.zeros(0, dtype=torch.bool)
        codes = self.table[self.dead][:_MOST_CODES]
        near = self.some[nearest(codes, self.some)]
        return (codes - near).square().sum(dim=1) > 9 * self.mean_error


@dataclass
class ProductTrace:
    """One product, and how the energy of its input falls to its pieces.

    Attributes:
        name: Where it is.
        pieces: Number of pieces.
        square: Sum of squares of each piece.
        total: Sum of the vectors.
        vectors: How many there were.
    """

    name: str
    pieces: int
    square: Tensor
    total: Tensor
    vectors: int = 0

    def add(self, x: Float[Tensor, "vectors dim"]) -> None:
        """Count vectors."""
        self.square += x.double().unflatten(-1, (self.pieces, -1)).square().sum(dim=(0, 2))
        self.total += x.double().sum(dim=0)
        self.vectors += len(x)

    @property
    def shares(self) -> list[float]:
        """Variance of each piece, as a share of all."""
        count = max(self.vectors, 1)
        mean = (self.total / count).unflatten(-1, (self.pieces, -1))
        energy = (self.square / count - mean.square().sum(dim=1)).clamp_min(0)
        return (energy / energy.sum().clamp_min(1e-30)).tolist()


@dataclass
class Traces:
    """All that was recorded, by the paths of the modules."""

    books: dict[str, BookTrace] = field(default_factory=dict)
    products: dict[str, ProductTrace] = field(default_factory=dict)


def part_name(path: str) -> str:
    """A path among modules, in words.

    Example:
        >>> part_name("quantizer.stages.1.pieces.0.codebook"), part_name("codebook")
        ('stage 2, piece 1', 'codebook')
    """
    found = [f"{_PARTS[kind]} {int(number) + 1}" for kind, number in re.findall(r"(stages|pieces)\.(\d+)", path)]
    return ", ".join(found) or path.rpartition(".")[2] or "quantizer"


@contextmanager
def traced(quantizer: Quantizer, before: Traces | None = None, keep_zeros: bool = True) -> Iterator[Traces]:
    """Record what reaches the codebooks and products while the quantizer encodes.

    Args:
        quantizer: A copy, in evaluation mode: its methods are wrapped meanwhile.
        before: Traces of other vectors, whose means the codes are compared with.
        keep_zeros: Count vectors of zeros, too; without it those that a mask has blanked are left out.
    """
    traces = Traces()
    wrapped: list[tuple[nn.Module, str]] = []
    for path, module in quantizer.named_modules():
        if isinstance(module, Codebook):
            trace = traces.books[path] = BookTrace(part_name(path), module)
            if before is not None:
                trace.learned_from(before.books[path])
            _wrap(module, "search", _searching(trace, module.search, keep_zeros))
            wrapped.append((module, "search"))
        elif isinstance(module, Product) and len(module.pieces) * module.repeats > 1 and _even(module):
            pieces, device = len(module.pieces) * module.repeats, next(iter(quantizer.state_dict().values())).device
            empty = torch.zeros(pieces, dtype=torch.double, device=device)
            zeros = torch.zeros(module.dim, dtype=torch.double, device=device)
            seen = traces.products[path] = ProductTrace(part_name(path), pieces, empty, zeros)
            _wrap(module, "_encode", _cutting(seen, module._encode, keep_zeros))
            wrapped.append((module, "_encode"))
    try:
        with plain_paths():
            yield traces
    finally:
        for part, method in wrapped:
            del part.__dict__[method]


def _even(product: Product) -> bool:
    return len({piece.dim for piece in product.pieces}) == 1


def _wrap(module: nn.Module, method: str, replacement: Callable[..., Any]) -> None:
    module.__dict__[method] = replacement


def _searching(trace: BookTrace, search: Callable[[Tensor], Tensor], keep_zeros: bool) -> Callable[[Tensor], Tensor]:
    def recorded(x: Tensor) -> Tensor:
        codes = search(x)
        real = slice(None) if keep_zeros else x.abs().sum(dim=1) > 0
        trace.add(x[real], codes[real])
        return codes

    return recorded


def _cutting(
    trace: ProductTrace, encode: Callable[[Tensor, Tensor | None], Tensor], keep_zeros: bool
) -> Callable[[Tensor, Tensor | None], Tensor]:
    def recorded(x: Tensor, mask: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        trace.add(rows if keep_zeros else rows[rows.abs().sum(dim=1) > 0])
        return encode(x, mask)

    return recorded
