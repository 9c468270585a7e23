"""Probabilities of a code by a small causal network in whole numbers, from codes before it and, of earlier stages, around it.

    code vectors V, 16-bit integers ─ A_i(t) = V_0[code 0 of frame t] + … + V_i[code i of frame t]
    A_i of frames before t ──────────────┐
    A_(i−1) of t and frames around it ───┼─ linear, shift, clip ─ linear, shift, clip ─ linear, shift ─ softmax ─ p(code i of frame t)
    A_(i−2) of t ────────────────────────┘

A stage is written after the stages before it, so those are known in the frames that follow, too. In an image a frame is a cell, and the
cells of the rows above and below join in. A chunk starts anew: what lies outside counts as 0. Nothing of a code's prediction depends on
codes behind it, so a file of fewer stages needs the first networks only, and encoding may predict all frames at once, to the bit as
decoding does one by one.

References:
    Ballé, Johnston & Minnen, "Integer networks for data compression with latent-variable models" (ICLR 2019): why the network of an
    entropy coder must calculate in integers.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np

from vqkit.bitstream.code_models import code_parts
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fields import FieldReader, number_bytes, runs_bytes
from vqkit.bitstream.limits import MAX_CODE_SIZE, MAX_CODES, MAX_NETWORK_DIM, MAX_NETWORK_WIDTH, MAX_NETWORK_WORK
from vqkit.bitstream.network_layers import CodeNetwork, read_network
from vqkit.bitstream.range_coder import decode_column, encode_column, finish, start_decoder
from vqkit.bitstream.static_tables import has_table
from vqkit.types import need

__all__ = ["NetworkModel", "earlier_offsets", "own_offsets", "slots"]

_BLOCK = 1 << 18  # weights of the range coder at once: 2 MiB
_STEP_WORK = 1 << 17  # what a step costs however small the network is


def own_offsets(columns: int, grid: bool) -> tuple[int | None, ...]:
    """Frames whose sum A_i, the code itself included, is an input; None where there is no such frame.

    Args:
        columns: cells of a row of the grid; below 2 where there is none.
        grid: whether the model looks at the rows around.

    Example:
        >>> own_offsets(0, grid=False), own_offsets(8, grid=True)
        ((-1, -2, -3), (-1, -2, -7, -8, -9))
    """
    if not grid:
        return -1, -2, -3
    return (-1, -2, 1 - columns, -columns, -1 - columns) if columns > 1 else (-1, -2, None, None, None)


def earlier_offsets(columns: int, grid: bool) -> tuple[int | None, ...]:
    """Frames whose sum A_(i−1), without the code itself, is an input; arguments as in `own_offsets`."""
    if not grid:
        return 0, 1, 2, -1
    return (0, 1, columns, -1, -columns) if columns > 1 else (0, 1, None, -1, None)


def slots(grid: bool) -> int:
    """Number of input vectors: those two lists, and the sum A_(i−2) of the frame itself."""
    return len(own_offsets(0, grid)) + len(earlier_offsets(0, grid)) + 1


class NetworkModel:
    """The coding ``"network"``; `vqkit.bitstream.network_fit.fit_network` makes one.

    Args:
        code_sizes: alphabet of each code of a frame.
        vectors: code vectors of each position, ``(code_sizes[i], dim)`` int16; None where the alphabet has one code or more than
            2^16, whose codes are equally likely.
        networks: network of each code position; None in the same places.
        dim: length of a code vector.
        width: outputs of the hidden layers.
        grid: whether rows above and below are inputs.
        columns: cells of a row of the grid; 0 without a grid.
    """

    coding = "network"
    magics = (b"VQKn", b"VQKm")  # without and with the rows around

    def __init__(
        self,
        code_sizes: Sequence[int],
        vectors: Sequence[np.ndarray | None],
        networks: Sequence[CodeNetwork | None],
        *,
        dim: int,
        width: int,
        grid: bool = False,
        columns: int = 0,
    ) -> None:
        self.code_sizes, self.vectors, self.networks = tuple(code_sizes), list(vectors), list(networks)
        self.dim, self.width, self.grid, self.columns = dim, width, grid, columns

    @cached_property
    def tables_hash(self) -> str:
        """The first 16 bytes of SHA-256 of `to_bytes`, in hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()[:32]

    def to_bytes(self) -> bytes:
        """The vectors and networks: two bytes a number of a vector, a byte a weight."""
        parts = [self.magics[self.grid], runs_bytes(self.code_sizes), number_bytes(self.dim), number_bytes(self.width)]
        for vectors, network in zip(self.vectors, self.networks, strict=True):
            if vectors is not None and network is not None:
                parts += [vectors.astype("<i2").tobytes(), network.to_bytes()]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            BitstreamError: the data are something else.
        """
        fields = FieldReader(data)
        magic = fields.take(len(cls.magics[0]))
        if magic not in cls.magics:
            raise BitstreamError("this is no network model")
        grid = magic == cls.magics[True]
        sizes = fields.runs("code_sizes", MAX_CODES, MAX_CODE_SIZE)
        dim = fields.number("the length of code vectors", MAX_NETWORK_DIM, least=1)
        width = fields.number("the width of hidden layers", MAX_NETWORK_WIDTH, least=1)
        vectors: list[np.ndarray | None] = []
        networks: list[CodeNetwork | None] = []
        for size in sizes:
            if not has_table(size):
                vectors.append(None)
                networks.append(None)
                continue
            vectors.append(np.frombuffer(fields.take(2 * size * dim), "<i2").reshape(size, dim))
            networks.append(read_network(fields, slots(grid) * dim, width, size))
        fields.finish("the network model")
        return cls(sizes, vectors, networks, dim=dim, width=width, grid=grid)

    def first(self, num_codes: int) -> "NetworkModel":
        """The model of the first codes of a frame."""
        parts = (self.code_sizes[:num_codes], self.vectors[:num_codes], self.networks[:num_codes])
        return NetworkModel(*parts, dim=self.dim, width=self.width, grid=self.grid, columns=self.columns)

    def on_grid(self, columns: int) -> "NetworkModel":
        """Return the same model for a grid of ``columns`` columns."""
        parts = (self.code_sizes, self.vectors, self.networks)
        return NetworkModel(*parts, dim=self.dim, width=self.width, grid=self.grid, columns=columns)

    def encode(self, codes: np.ndarray, start: int, stop: int) -> bytes:
        """Bytes of codes ``start`` to ``stop`` − 1 of all frames; codes: (frames, at least ``stop``) int64."""
        self._check_work(len(codes), start, stop)
        stream = need("constriction", "audio").stream
        encoder, family = stream.queue.RangeEncoder(), stream.model.Categorical(perfect=False)
        sums = _Sums(self.vectors, codes[:, :start], self.dim)
        for position in range(start, stop):
            column, network = np.ascontiguousarray(codes[:, position]), self.networks[position]
            before = sums.add(self.vectors[position], column)
            if network is None:
                encode_column(encoder, column, code_parts(self.code_sizes[position], None))
                continue
            step = max(1, _BLOCK // max(self.code_sizes[position], slots(self.grid) * self.dim))
            for first in range(0, len(column), step):
                last = min(first + step, len(column))
                known = self._known(network, *before, first, last)
                own = self._own(network, sums.own, first, last)
                encoder.encode(column[first:last].astype(np.int32), family, network.rows(known + own))
        return finish(encoder)

    def decode(self, data: bytes, known: np.ndarray, stop: int) -> np.ndarray:
        """The codes of `encode`, (frames, stop − start) int64.

        Args:
            data: what `encode` returned.
            known: the codes before, (frames, start).
            stop: the stage that `encode` stopped before.

        Raises:
            BitstreamError: `encode` does not write such data.
        """
        frames, start = known.shape
        self._check_work(frames, start, stop)
        decoder = start_decoder(data)
        codes = np.concatenate([known, np.zeros((frames, stop - start), np.int64)], axis=1)
        sums = _Sums(self.vectors, known, self.dim)
        try:
            for position in range(start, stop):
                network, vectors = self.networks[position], self.vectors[position]
                if network is None or vectors is None:
                    column = decode_column(decoder, frames, code_parts(self.code_sizes[position], None))
                else:
                    column = self._decode_one_by_one(decoder, network, vectors, sums)
                codes[:, position] = column
                if (column >= self.code_sizes[position]).any():
                    raise ValueError
                sums.add(vectors, column)
        except (ValueError, AssertionError):  # constriction's word for data that no encoder writes
            raise BitstreamError(f"{len(data)} bytes do not hold {frames} frames of these codes") from None
        if self.encode(codes, start, stop) != data:
            raise BitstreamError(f"{len(data)} bytes do not hold {frames} frames of these codes")
        return codes[:, start:]

    def most_frames(self, stage_ends: Sequence[int]) -> int:
        """Return the largest number of frames in a chunk for which decoding any stage stays within the work limit."""
        starts = (0, *stage_ends)
        return MAX_NETWORK_WORK // max(1, *(self._work(start, stop) for start, stop in pairwise(starts)))

    # --- inside

    def _work(self, start: int, stop: int) -> int:
        inner = _STEP_WORK + self.width * (slots(self.grid) * self.dim + self.width)
        return sum(inner + self.width * size for size in self.code_sizes[start:stop] if has_table(size))

    def _check_work(self, frames: int, start: int, stop: int) -> None:
        if frames * self._work(start, stop) > MAX_NETWORK_WORK:
            raise BitstreamError(f"{frames} frames are too many for one chunk of these alphabets with networks")

    def _known(
        self, network: CodeNetwork, earlier: np.ndarray, before_last: np.ndarray, first: int, last: int
    ) -> np.ndarray:
        """Compute the first layer's sums over codes of earlier positions, bias included, for frames ``first`` to ``last`` − 1."""
        inputs = [_shifted(earlier, offset, first, last) for offset in earlier_offsets(self.columns, self.grid)]
        inputs.append(before_last[first:last])
        weight = network.first_weight[len(own_offsets(0, self.grid)) * self.dim :]
        found: np.ndarray = np.concatenate(inputs, axis=1) @ weight + network.first.bias
        return found

    def _own(self, network: CodeNetwork, own: np.ndarray, first: int, last: int) -> np.ndarray:
        """Compute the first layer's sums over codes of the position itself in earlier frames, for frames ``first`` to ``last`` − 1."""
        inputs = [_shifted(own, offset, first, last) for offset in own_offsets(self.columns, self.grid)]
        found: np.ndarray = np.concatenate(inputs, axis=1) @ network.first_weight[: len(inputs) * self.dim]
        return found

    def _decode_one_by_one(self, decoder: Any, network: CodeNetwork, vectors: np.ndarray, sums: "_Sums") -> np.ndarray:
        categorical = need("constriction", "audio").stream.model.Categorical
        frames, earlier = len(sums.own), sums.own
        known = self._known(network, earlier, sums.before, 0, frames)
        offsets = [o if o is not None and -o < frames else -frames for o in own_offsets(self.columns, self.grid)]
        reach = -min(offsets)
        own = np.zeros((reach + frames, self.dim))  # zeros stand before the first frame
        places = np.arange(frames)[:, None] + reach + np.array(offsets)
        weight = network.first_weight[: len(offsets) * self.dim]
        column, added = np.empty(frames, np.int64), vectors.astype(np.float64)
        for frame in range(frames):
            row = network.rows(known[frame] + own[places[frame]].reshape(1, -1) @ weight)[0]
            column[frame] = code = int(decoder.decode(categorical(row, lazy=True)))
            own[reach + frame] = earlier[frame] + added[code]
        return column


class _Sums:
    """The sums A of one code position after the other; floats of whole numbers, (frames, dim)."""

    def __init__(self, vectors: Sequence[np.ndarray | None], known: np.ndarray, dim: int) -> None:
        self.own = self.before = np.zeros((len(known), dim))
        for table, column in zip(vectors, known.T, strict=False):
            self.add(table, column)

    def add(self, vectors: np.ndarray | None, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Go on to the next position; returns the sums without it, and those without the one before it as well."""
        earlier = self.own, self.before
        self.before = self.own
        if vectors is not None:
            self.own = self.own + vectors[column]
        return earlier


def _shifted(sums: np.ndarray, offset: int | None, first: int, last: int) -> np.ndarray:
    """Return the sums ``offset`` frames away from frames ``first`` to ``last`` − 1; zeros where there are none."""
    found = np.zeros((last - first, sums.shape[1]))
    if offset is None:
        return found
    begin, end = max(first + offset, 0), min(last + offset, len(sums))
    if begin < end:
        found[begin - first - offset : end - first - offset] = sums[begin:end]
    return found
