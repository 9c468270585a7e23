"""Fit the context model: classes of codes that foretell alike, counts, and the share of each of the two contexts.

Classes come from k-means of the histograms of what follows each code, with the cross-entropy as distance: each code joins the class whose
distribution writes its followers in the fewest bits. The share maximises the likelihood of the codes, each left out of the counts that
foretell it (expectation maximisation).

References:
    Brown et al., "Class-based n-gram models of natural language" (1992); Jelinek & Mercer, "Interpolated estimation of Markov source
    parameters from sparse data" (1980).
"""

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from vqkit.bitstream.context_model import CodeContexts, Context, ContextModel, has_neighbour
from vqkit.bitstream.limits import MAX_CLASSES
from vqkit.bitstream.static_tables import has_table, small_counts
from vqkit.types import Int

__all__ = ["fit_contexts"]

_SMOOTHING = 50  # counts of the plain distribution that are added to those of a class
_MOST_COUNTS = 1 << 18  # of a table: large alphabets get fewer classes
_ITERATIONS = 12


def fit_contexts(
    code_sizes: Sequence[int],
    clips: Iterable[Int[Tensor, "frames num_codes"]],
    classes: int = 32,
    chunk_frames: int = 75,
    seed: int = 0,
) -> ContextModel:
    """Fit a context model to codes.

    Args:
        code_sizes: alphabet of each code of a frame.
        clips: codes of whole clips, without masked positions. Alphabets of K codes want some hundred times K frames in all.
        classes: of contexts, 1 … 64; a table takes 2 · classes · K bytes.
        chunk_frames: frames of a chunk, at whose start there is no frame before.
        seed: of the first classes.

    Returns:
        The model.

    Raises:
        ValueError: classes out of range, codes out of range, or no codes.

    Example:
        >>> import torch
        >>> codes = torch.arange(3000)[:, None] // 3 % 64  # each code three times: the one before foretells it
        >>> model = fit_contexts([64], [codes])
        >>> len(model.encode(codes[:75].numpy(), 0, 1))  # 57 bytes as plain bits
        24
    """
    if not 1 <= classes <= MAX_CLASSES:
        raise ValueError(f"classes is {classes}, allowed are 1 to {MAX_CLASSES}")
    tables = [clip.cpu().numpy().astype(np.int64) for clip in clips]
    if not sum(map(len, tables)):
        raise ValueError("there are no codes to fit a context model to")
    codes = np.concatenate(tables)
    if codes.min() < 0 or (codes >= np.array(code_sizes)).any():
        raise ValueError(f"codes are from {codes.min()} to {codes.max()}, expected 0 to code_sizes − 1")
    starts = np.concatenate([np.arange(len(table)) % chunk_frames == 0 for table in tables])
    contexts = [
        _fit_position(codes, starts, code_sizes, position, classes, np.random.default_rng(seed))
        if has_table(size)
        else None
        for position, size in enumerate(code_sizes)
    ]
    return ContextModel(code_sizes, contexts)


def _fit_position(
    codes: np.ndarray,
    starts: np.ndarray,
    sizes: Sequence[int],
    position: int,
    classes: int,
    random: np.random.Generator,
) -> CodeContexts:
    column, size = codes[:, position], sizes[position]
    classes = max(1, min(classes, _MOST_COUNTS // size))
    before = np.where(starts, size, np.roll(column, 1))
    time, given_time = _fit_context(before, column, (size + 1, size), classes, random)
    if not has_neighbour(sizes, position):
        return CodeContexts(256, time, None)
    beside, given_beside = _fit_context(codes[:, position - 1], column, (sizes[position - 1], size), classes, random)
    share = 0.5
    for _ in range(_ITERATIONS):
        part = share * given_time
        share = float((part / (part + (1 - share) * given_beside)).mean())
    return CodeContexts(round(256 * min(max(share, 0.01), 0.99)), time, beside)


def _fit_context(
    context: np.ndarray, column: np.ndarray, shape: tuple[int, int], classes: int, random: np.random.Generator
) -> tuple[Context, np.ndarray]:
    """The table, and the probability of each code of the column when it is left out of the counts."""
    plain = np.bincount(column, minlength=shape[1]) + 1.0
    prior = _SMOOTHING * plain / plain.sum()
    membership = random.permutation(shape[0]) % classes
    for _ in range(_ITERATIONS):
        counts = _count(membership[context], column, (classes, shape[1])) + prior
        bits = -np.log2(counts / counts.sum(axis=1, keepdims=True))
        membership = _cheapest(context, column, bits, shape[0])
    counts = _count(membership[context], column, (classes, shape[1]))
    own = membership[context]
    left_out = (counts[own, column] - 1 + prior[column]) / (counts.sum(axis=1)[own] - 1 + _SMOOTHING)
    # rows of small counts keep four binary digits of the prior
    table = np.stack([small_counts(np.rint(16 * (row + prior)).astype(np.int64)) for row in counts])
    return Context(membership.astype(np.uint8), table), left_out


def _count(first: np.ndarray, second: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.bincount(first * shape[1] + second, minlength=shape[0] * shape[1]).reshape(shape)


def _cheapest(context: np.ndarray, column: np.ndarray, bits: np.ndarray, size: int) -> np.ndarray:
    """For each code of the context the class whose distribution writes its followers in the fewest bits."""
    costs = [np.bincount(context, weights=row[column], minlength=size) for row in bits]
    return np.argmin(costs, axis=0)
