"""Nearest-code search: one matrix product and an argmax, in chunks that stay in the cache, never an (N, K, D) tensor.

With ē the mean code, argmin_j ‖x − e_j‖² = argmax_j (x − ē)·(e_j − ē) − ½‖e_j − ē‖². Subtracting ē on both sides changes no decision
and keeps the products small when the latents sit far from the origin, where x·e_j would lose the small differences to rounding.
The norm is one more column of the table, against a column of ones: [x − ē, 1]·[e_j − ē, −½‖e_j − ē‖²].
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vqkit.quantize import native
from vqkit.types import Float, Int

__all__ = [
    "CHUNK_SCORES",
    "SearchTable",
    "best_codes",
    "chunk_rows",
    "float32_products",
    "nearest",
    "nearest_in",
    "nearest_plain",
    "offered",
    "plain_paths",
    "search_table",
    "similarity",
    "takes_fast_paths",
    "takes_fused_search",
    "takes_plain_twins",
]

CHUNK_SCORES = 1 << 20
"""Scores held at once by a search, 4 MiB of float32: they are still in the cache when the argmax reads them."""

_LEAST_ROWS = 256  # of a chunk: a product with fewer reads the codebook more often than it pays
_MOST_OFFERED = 1 << 15  # codes
_FEW = 16  # rows from which `best_codes` pools


class SearchTable(NamedTuple):
    """A codebook made ready for searches.

    Attributes:
        mean: ē, (dim,).
        direction: [e_j − ē, −½‖e_j − ē‖²] for every code j, (codes, dim + 1).
    """

    mean: Tensor
    direction: Tensor


def search_table(codebook: Float[Tensor, "codes dim"], distance: str = "l2") -> SearchTable:
    """Make a codebook ready; with ``"cosine"`` its directions count, whatever their mean and length."""
    if distance == "cosine":
        direction = F.normalize(codebook, dim=-1)
        return SearchTable(codebook.new_zeros(codebook.shape[1]), F.pad(direction, (0, 1)))
    mean = codebook.mean(dim=0)
    direction = codebook - mean
    return SearchTable(mean, torch.cat([direction, -0.5 * direction.square().sum(dim=-1, keepdim=True)], dim=1))


def nearest(
    x: Float[Tensor, "vectors dim"], codebook: Float[Tensor, "codes dim"], distance: str = "l2"
) -> Int[Tensor, " vectors"]:
    """Index of the nearest code of every vector; ties go to the lowest index.

    Args:
        x: vectors, float32.
        codebook: codes, float32.
        distance: ``"l2"`` or ``"cosine"`` (angle only; the length of a code does not matter).

    Returns:
        int64 indices.

    Example:
        >>> import torch
        >>> nearest(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        tensor([1])
    """
    return nearest_in(x, search_table(codebook, distance))


def nearest_in(x: Float[Tensor, "vectors dim"], table: SearchTable) -> Int[Tensor, " vectors"]:
    """`nearest` in a codebook that was made ready."""
    mean, direction = table
    if not takes_fast_paths(x):  # an exported graph must not depend on the batch size
        rows = x.shape[0] if torch.compiler.is_exporting() else max(1, CHUNK_SCORES // len(direction))
        if x.shape[0] <= rows:
            with float32_products(x.device):
                return torch.addmm(direction[:, -1], x - mean, direction[:, :-1].T).argmax(dim=1)
        return torch.cat([nearest_in(chunk, table) for chunk in x.split(rows)])
    x, direction = x.detach(), direction.detach()
    compiled = native.nearest(x, mean, direction)
    if compiled is not None:
        return compiled
    found = torch.empty(x.shape[0], dtype=torch.long)
    rows = chunk_rows(len(direction), x.shape[0])
    held, scores = x.new_ones(rows, x.shape[1] + 1), x.new_empty(len(direction) * rows)
    with float32_products(x.device):
        for start in range(0, x.shape[0], rows):
            part = x[start : start + rows]
            centred = held[: len(part)]
            torch.sub(part, mean, out=centred[:, :-1])
            found[start : start + rows] = best_codes(direction, centred, scores)
    return found


_only_plain = False


@contextmanager
def plain_paths() -> Iterator[None]:
    """Inside, everything takes the plain twins: every codebook's search then sees its vectors, for those who watch it.

    It also is the way to second derivatives through residual stages, which the fast training forward does not have.
    """
    global _only_plain
    before, _only_plain = _only_plain, True
    try:
        yield
    finally:
        _only_plain = before


def takes_fast_paths(x: Tensor) -> bool:
    """Whether x is an ordinary tensor on the CPU: graphs, tensors without values and accelerators take the plain twins."""
    return x.device.type == "cpu" and _with_values()


def takes_fused_search(x: Tensor) -> bool:
    """Whether x is an ordinary tensor on CUDA, where `vqkit.quantize.fused` may search."""
    return x.device.type == "cuda" and _with_values()


def takes_plain_twins() -> bool:
    """Whether a graph is traced, or `plain_paths` asks for it."""
    return _only_plain or torch.compiler.is_compiling()


def _with_values() -> bool:
    return not _only_plain and not torch.compiler.is_compiling() and not torch.jit.is_tracing()


def chunk_rows(codes: int, vectors: int) -> int:
    """How many vectors a search takes at once."""
    return max(1, min(vectors, max(_LEAST_ROWS, CHUNK_SCORES // codes)))


def best_codes(
    direction: Float[Tensor, "codes columns"],
    vectors: Float[Tensor, "vectors columns"],
    held: Float[Tensor, " scores"] | None = None,
) -> Int[Tensor, " vectors"]:
    """The row with the largest product for every vector, on the CPU; ties go to the lowest.

    torch's argmax takes a number at a time and costs more than the product; its max-pooling of channels-last images is the same operation
    in vector instructions. So vectors are the channels of an image of one column, and codes are its rows.

    Args:
        direction: from `SearchTable`.
        vectors: with the column of ones.
        held: memory for codes · vectors scores, or more.
    """
    codes, rows = len(direction), len(vectors)
    if rows == 1:
        return torch.mv(direction, vectors[0]).argmax(dim=0, keepdim=True)
    scores = torch.mm(direction, vectors.T, out=None if held is None else held[: codes * rows].view(codes, rows))
    if rows < _FEW:
        return scores.argmax(dim=0)
    image = scores.view(1, codes, 1, rows).permute(0, 3, 1, 2)
    return F.max_pool2d(image, (codes, 1), return_indices=True)[1].view(rows)


@contextmanager
def float32_products(device: torch.device) -> Iterator[None]:
    """Matrix products in full float32, whatever a program allows elsewhere: a search in TF32 or bfloat16 takes other codes.

    It undoes ``torch.set_float32_matmul_precision`` and ``fp32_precision`` of torch.backends for the time being; compiled graphs have
    what is set when they run.
    """
    if torch.compiler.is_compiling():
        yield
        return
    backends: Any = torch.backends
    backend = backends.cuda.matmul if device.type == "cuda" else backends.mkldnn.matmul
    name = "fp32_precision" if hasattr(backend, "fp32_precision") else "allow_tf32"  # torch before 2.9 has no other
    allowed = getattr(backend, name, False)
    exact = "ieee" if name == "fp32_precision" else False
    if allowed == "none":
        allowed = exact if backends.fp32_precision in ("none", "ieee") else allowed
    if allowed == exact or not allowed:
        yield
        return
    setattr(backend, name, exact)
    try:
        yield
    finally:
        setattr(backend, name, allowed)


def similarity(
    x: Float[Tensor, "*shape dim"], codebook: Float[Tensor, "codes dim"], distance: str
) -> Float[Tensor, "*shape codes"]:
    """−‖x − e‖², or the cosine, of every pair; the caller keeps the number of vectors small."""
    if distance == "cosine":
        return F.normalize(x, dim=-1) @ F.normalize(codebook, dim=-1).T
    mean = codebook.mean(dim=0)
    x, codebook = x - mean, codebook - mean
    return 2 * x @ codebook.T - x.square().sum(dim=-1, keepdim=True) - codebook.square().sum(dim=-1)


def offered(
    scores: Float[Tensor, "vectors codes"], count: int
) -> tuple[Int[Tensor, "vectors candidates codes"], Float[Tensor, "vectors candidates"]]:
    """Candidates of every vector by −‖x − e‖², and their errors: the best ``count``, or all codes of a codebook of modest size.

    To choose once among all codes for several sets of codes of a vector takes less than to choose for each before.
    """
    if scores.shape[1] <= _MOST_OFFERED:
        codes = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
        return codes[..., None], -scores
    best, codes = scores.topk(count, dim=1)
    return codes[..., None], -best


def nearest_plain(
    x: Float[Tensor, "vectors dim"], codebook: Float[Tensor, "codes dim"], distance: str = "l2"
) -> Int[Tensor, " vectors"]:
    """The plain twin of `nearest`: every difference formed, in float64. For tests and small inputs."""
    x, codebook = x.double(), codebook.double()
    if distance == "cosine":
        x, codebook = F.normalize(x, dim=-1), F.normalize(codebook, dim=-1)
    return (x[:, None] - codebook[None]).square().sum(dim=-1).argmin(dim=1)
