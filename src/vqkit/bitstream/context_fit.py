"""Fit the context model: classes of codes that predict alike, counts, and the share of each of the two contexts.

Classes come from k-means of the histograms of what follows each code, with the cross-entropy as distance: each code joins the class whose
distribution writes its followers in the fewest bits. The shares maximise the likelihood of the codes, each left out of the counts that
foretell it (expectation maximisation).

References:
    Brown et al., "Class-based n-gram models of natural language" (1992); Jelinek & Mercer, "Interpolated estimation of Markov source
    parameters from sparse data" (1980).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vqkit.bitstream.context_model import ContextModel
from vqkit.bitstream.context_tables import CodeContexts, Context, has_neighbour
from vqkit.bitstream.limits import MAX_CLASSES
from vqkit.bitstream.static_tables import has_table, small_counts
from vqkit.types import Int

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["fit_contexts"]

_SMOOTHING = 50  # counts of the plain distribution that are added to those of a class
_MOST_COUNTS = 1 << 18  # of a table: large alphabets get fewer classes
_ITERATIONS = 12


def fit_contexts(
    code_sizes: Sequence[int],
    clips: Iterable[Int[Tensor, "frames num_codes"]],
    classes: int = 32,
    chunk_frames: int | Sequence[int] = 75,
    seed: int = 0,
    columns: Sequence[int] | None = None,
) -> ContextModel:
    """Fit a context model to codes.

    Args:
        code_sizes: alphabet of each code of a frame.
        clips: codes of whole clips, without masked positions. Alphabets of K codes want some hundred times K frames in all.
        classes: number of classes of contexts, 1 … 64; a table takes 2 · classes · K bytes.
        chunk_frames: frames of a chunk, at whose start there is no frame before; one number, or one for each clip.
        seed: seed of the first classes.
        columns: columns of images' grids, one for each clip: the code of the cell above becomes a third context.

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
    lengths = [chunk_frames] * len(tables) if isinstance(chunk_frames, int) else chunk_frames
    within = np.concatenate([np.arange(len(table)) % size for table, size in zip(tables, lengths, strict=True)])
    lags = [np.ones_like(within)]
    if columns is not None:
        lags.append(np.repeat(columns, [len(table) for table in tables]))
    contexts = [
        _fit_position(codes, within, lags, code_sizes, position, classes, np.random.default_rng(seed))
        if has_table(size)
        else None
        for position, size in enumerate(code_sizes)
    ]
    return ContextModel(code_sizes, contexts)


def _fit_position(
    codes: np.ndarray,
    within: np.ndarray,
    lags: Sequence[np.ndarray],
    sizes: Sequence[int],
    position: int,
    classes: int,
    random: np.random.Generator,
) -> CodeContexts:
    """Fit one position; ``within``: index of each frame in its chunk; ``lags``: distances to the earlier frames that predict it."""
    column, size = codes[:, position], sizes[position]
    classes = max(1, min(classes, _MOST_COUNTS // size))
    places = np.arange(len(column))
    found = []
    for lag in lags:
        before = np.where(within < lag, size, column[np.maximum(places - lag, 0)])
        found.append(_fit_context(before, column, (size + 1, size), classes, random))
    if has_neighbour(sizes, position):
        shape = (sizes[position - 1], size)
        found.append(_fit_context(codes[:, position - 1], column, shape, classes, random))
    shares = _shares([given for _, given in found])
    tables = [table for table, _ in found]
    beside = tables[-1] if has_neighbour(sizes, position) else None
    if len(lags) == 1:
        return CodeContexts(shares[0], tables[0], beside)
    return CodeContexts(shares[0], tables[0], beside, tables[1], shares[1])


def _shares(given: Sequence[np.ndarray]) -> list[int]:
    """Mixing weights of the tables, in 256ths, by a few rounds of expectation maximisation; the last table takes the rest.

    Args:
        given: for each table, the probability that it gives each code that occurred.
    """
    if len(given) == 1:
        return [256]
    shares = np.full(len(given), 1 / len(given))
    for _ in range(_ITERATIONS):
        parts = shares[:, None] * np.stack(given)
        shares = (parts / parts.sum(axis=0)).mean(axis=1)
    kept = np.clip(shares, 0.01, 0.99)
    return [round(256 * share) for share in kept / kept.sum()]


def _fit_context(
    context: np.ndarray, column: np.ndarray, shape: tuple[int, int], classes: int, random: np.random.Generator
) -> tuple[Context, np.ndarray]:
    """Return the table, and the leave-one-out probability of each code of the column."""
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
    """Return, for each code of the context, the class whose distribution codes its followers in the fewest bits."""
    costs = [np.bincount(context, weights=row[column], minlength=size) for row in bits]
    return np.argmin(costs, axis=0)
