"""Writing of codes to a ``.vqk`` file, in blocks of any size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from vqkit.bitstream.chunk_encoder import encoded_chunk, stage_counts
from vqkit.bitstream.entropy_model import EntropyModel, fitting, largest_chunk, usual_chunk
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.output import RecordWriter
from vqkit.bitstream.plain_codes import PlainCodes
from vqkit.bitstream.tensors import array_of_codes
from vqkit.counts import check_numbers
from vqkit.types import Int

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["VqkWriter"]


class VqkWriter:
    """Writer that takes codes as they come and writes a chunk as soon as it is full.

    A path is written beside its place and moved there by `close`, so that no one sees half a file; an exception inside ``with`` leaves
    nothing behind. A stream (an open binary file, a pipe, ``io.BytesIO``) gets every chunk at once and can be read meanwhile; it stays
    open.

    Args:
        target: path or stream. A stream opened to append to a file of the same codes makes both one sequence.
        header: header of the file; its ``coding``, ``tables_hash`` and ``tables`` are filled in from ``entropy_model``.
        entropy_model: `StaticTables`, `ContextModel` or `NetworkModel`; plain bits by default. Of one of more codes the first are taken.
        store_tables: put the tables into the header. Otherwise the reader must be given them: a model's belong beside its weights.
        chunk_frames: frames of a chunk. A second of them by default; where there is no time about 4096, in an image whole rows of cells.

    Raises:
        ValueError: the header or the number of frames is out of range, or the tables are for other codes.

    Example:
        >>> import io
        >>> from vqkit.bitstream import VqkReader
        >>> header = VqkHeader(code_sizes=(1024,) * 4, sample_rate=24000, hop_samples=320)
        >>> codes = torch.randint(0, 1024, (200, 4))
        >>> file = io.BytesIO()
        >>> with VqkWriter(file, header) as writer:
        ...     writer.write(codes[:30])
        ...     writer.write(codes[30:, :2])  # only two stages: the rate may change
        >>> VqkReader(io.BytesIO(file.getvalue())).read(28, 4)[:, 2:].tolist() == codes[28:30, 2:].tolist() + [[-1, -1]] * 2
        True
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        header: VqkHeader,
        *,
        entropy_model: EntropyModel | None = None,
        store_tables: bool = False,
        chunk_frames: int | None = None,
    ) -> None:
        check_numbers(chunk_frames=chunk_frames)
        self._model: EntropyModel = fitting(entropy_model or PlainCodes(header.code_sizes), header)
        if self._model.code_sizes != header.code_sizes:
            raise ValueError(
                f"the entropy model is for code sizes {self._model.code_sizes}, the header has {header.code_sizes}"
            )
        tables = self._model.to_bytes() if store_tables else b""
        header = replace(header, coding=self._model.coding, tables_hash=self._model.tables_hash, tables=tables)
        most = largest_chunk(self._model, header)
        self.chunk_frames = usual_chunk(header, most) if chunk_frames is None else chunk_frames
        if not 1 <= self.chunk_frames <= most:
            raise ValueError(
                f"chunk_frames is {chunk_frames}, allowed are 1 to {most} with {header.num_codes} codes a frame"
            )
        self._records = RecordWriter(target, header)
        self._waiting = np.zeros((0, header.num_codes), np.int64)
        self._written = self._stages = 0
        self._closed = False

    @property
    def header(self) -> VqkHeader:
        """Header as it was written."""
        return self._records.header

    @property
    def frames(self) -> int:
        """Number of frames given so far."""
        return self._written + len(self._waiting)

    @property
    def stages(self) -> int:
        """Largest number of stages that a frame written so far has; with ``variable_stages`` perhaps fewer than the header's."""
        return self._stages

    @property
    def bytes_written(self) -> int:
        """Number of bytes of header and chunks written so far."""
        return self._records.bytes_written

    def write(self, codes: Int[Tensor, "frames codes"]) -> None:
        """Take the next frames.

        Args:
            codes: ``(frames, num_codes)`` integers, or only the codes of the first stages; a change of stages begins a new chunk. With
                ``header.variable_stages`` the codes of stages that a frame leaves out are −1, and no new chunk begins.

        Raises:
            ValueError: the shape, the type or a code is wrong, or the writer is closed; nothing of the block is written then.
        """
        if self._closed:
            raise ValueError("the writer is closed")
        block = self._checked(codes)
        if block.shape[1] != self._waiting.shape[1]:
            self.flush()
            self._waiting = block[:0]
        self._waiting = np.concatenate([self._waiting, block])
        done = len(self._waiting) // self.chunk_frames * self.chunk_frames
        for first in range(0, done, self.chunk_frames):
            self._chunk(self._waiting[first : first + self.chunk_frames])
        self._waiting = self._waiting[done:].copy()

    def flush(self) -> None:
        """Write the frames that wait for a full chunk, as a shorter one."""
        if len(self._waiting):
            self._chunk(self._waiting)
            self._waiting = self._waiting[:0]

    def close(self, length: int | None = None) -> None:
        """Write what waits and the end; a file gets its name.

        Args:
            length: samples in all: the last frame may hold fewer than the others. That of the header by default.

        Raises:
            ValueError: length is negative or longer than the frames.
        """
        if self._closed:
            return
        length = self.header.length if length is None else length
        if length is not None and not 0 <= length <= self._most_samples():
            raise ValueError(f"length is {length} samples, {self.frames} frames hold 0 to {self._most_samples()}")
        self.flush()
        self._records.end(self._written, length)
        self._records.close()
        self._closed = True

    def discard(self) -> None:
        """Give up: a file leaves nothing behind, a stream keeps what it was given."""
        if not self._closed:
            self._records.discard()
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise

    def _most_samples(self) -> int:
        cells = int(np.prod(self.header.grid, dtype=object))
        return -(-self.frames // cells) * self.header.hop_samples

    def _chunk(self, codes: np.ndarray) -> None:
        stages, counts = encoded_chunk(self._model, self.header, codes)
        self._records.chunk(self._written, len(codes), stages, counts)
        self._written += len(codes)
        self._stages = max(self._stages, len(stages))

    def _checked(self, codes: Tensor) -> np.ndarray:
        widths = self.header.stage_ends
        if codes.ndim != 2 or codes.shape[1] not in widths:
            allowed = ", ".join(map(str, widths[:16])) + (" …" if len(widths) > 16 else "")
            raise ValueError(f"codes have shape {tuple(codes.shape)}, expected (frames, n) with n one of {allowed}")
        block = array_of_codes(codes)
        variable = self.header.variable_stages
        sizes = np.array(self.header.code_sizes[: codes.shape[1]])
        wrong = np.argwhere((block < (-1 if variable else 0)) | (block >= sizes))
        if len(wrong):
            frame, code = wrong[0]
            found = block[frame, code]
            raise ValueError(
                f"code {code} of frame {frame} is {found}, allowed are 0 to {sizes[code] - 1}"
                + ("; −1 needs a header with variable_stages=True" if found == -1 else "")
            )
        if not variable:
            return block
        odd = np.flatnonzero(stage_counts(self.header, block) < 0)
        if len(odd):
            raise ValueError(
                f"frame {odd[0]} has the codes {block[odd[0]].tolist()}: expected those of its first stages, at least one, and −1 behind"
            )
        missing = self.header.num_codes - block.shape[1]
        return np.pad(block, ((0, 0), (0, missing)), constant_values=-1)
