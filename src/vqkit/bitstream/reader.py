"""Reading of a ``.vqk`` file as codes: from any frame on, or from beginning to end."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from vqkit.bitstream.chunk_decoder import ChunkDecoder
from vqkit.bitstream.entropy_model import EntropyModel
from vqkit.bitstream.errors import BitstreamError, OtherModelError
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.limits import MAX_READ_CODES
from vqkit.bitstream.records import Chunk
from vqkit.bitstream.scanner import Damage, Found, Scanner
from vqkit.bitstream.source import ByteSource
from vqkit.bitstream.tensors import tensor_of_codes
from vqkit.counts import check_numbers
from vqkit.types import Int

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["VqkBlock", "VqkReader"]


@dataclass(frozen=True)
class VqkBlock:
    """Consecutive frames of a file.

    Attributes:
        start_frame: index of the block's first frame in the file.
        codes: ``(frames, num_codes)`` int64; −1 in stages that the file leaves out, and everywhere if the frames are lost.
        lost: the file is damaged here.
    """

    start_frame: int
    codes: Int[Tensor, "frames num_codes"]
    lost: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """Chunk with its place in the file; or lost frames, without a chunk."""

    start_frame: int
    frames: int
    offset: int = 0
    chunk: Chunk | None = None


class VqkReader:
    """Reader of a file's codes; those that a damaged file has lost are −1.

    The file may still grow: chunks that have arrived whole are read, a part of one is not there yet. A stream that cannot be seeked can be
    iterated once and holds no more than a chunk in memory.

    Args:
        source: path, or binary file or stream that stands at the header.
        entropy_model: the tables, where the file has none of its own; see ``header.coding``. Of a model of more codes the first are taken.
        model_hash: hash of the weights that shall decode the codes, in hexadecimal, or several: a file of another model is refused.
        stages: read only the first so many stages.

    Raises:
        BitstreamError: not a vqk file, a newer version, damaged in its header, or of another model.
        ValueError: stages out of range.

    Example:
        >>> import io
        >>> from vqkit.bitstream import VqkWriter
        >>> file = io.BytesIO()
        >>> with VqkWriter(file, VqkHeader(code_sizes=(8,) * 2, sample_rate=16000, hop_samples=1600)) as writer:
        ...     writer.write(torch.arange(50).remainder(8)[:, None].expand(-1, 2))
        >>> data = bytearray(file.getvalue())
        >>> data[70] ^= 1  # in the second chunk
        >>> reader = VqkReader(io.BytesIO(data))
        >>> reader.frames, [str(damage) for damage in reader.damage]
        (50, ['a chunk is altered at byte 55 (23 bytes): frames 10 to 19 are lost'])
        >>> reader.read(8, 4)[:, 0].tolist()
        [0, 1, -1, -1]
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        *,
        entropy_model: EntropyModel | None = None,
        model_hash: str | Sequence[str] | None = None,
        stages: int | None = None,
    ) -> None:
        self._source = ByteSource(source)
        try:
            # nothing that the reader holds refers to the reader: it and its file go when the last reference goes
            self._scanner = Scanner(self._source.next)
            self._check_weights(model_hash)
            self._decoder = ChunkDecoder(self.header, entropy_model, stages)
        except BaseException:
            self.close()
            raise
        self._entries: list[Entry] = []
        self._damage: list[Damage] = []
        self._undecodable: set[int] = set()

    @property
    def header(self) -> VqkHeader:
        """Header of the file."""
        return self._scanner.header

    @property
    def seekable(self) -> bool:
        """Whether the file can be seeked; of a stream that cannot, frames can only be iterated over."""
        return self._source.seekable

    @property
    def num_codes(self) -> int:
        """Number of codes per frame in the stages that are read."""
        return self._decoder.num_codes

    @property
    def frames(self) -> int:
        """Number of frames that have arrived, lost ones included."""
        self.refresh()
        return self._scanner.frames

    @property
    def complete(self) -> bool:
        """Whether the end record has been read; otherwise the file is still being written, or was cut."""
        self.refresh()
        return self._scanner.complete

    @property
    def length(self) -> int | None:
        """Samples in all, if stated: by the end, or by the header of a file that has no end."""
        self.refresh()
        return self._scanner.length

    @property
    def damage(self) -> list[Damage]:
        """Damage found so far."""
        self.refresh()
        return list(self._damage)

    @property
    def pending_bytes(self) -> int:
        """Bytes behind the last record: part of a chunk that is still to come, or remains of one."""
        self.refresh()
        return self._scanner.pending_bytes

    @property
    def size(self) -> int:
        """Number of bytes read so far."""
        return self._source.size

    def refresh(self) -> bool:
        """Look for more, where the file may have grown; every property does. Returns whether there was. A stream is left alone."""
        before = len(self._entries)
        if self.seekable:
            for event in self._scanner.scan():
                self._note(event)
        return len(self._entries) > before

    def require_intact(self) -> None:
        """Raise `BitstreamError` if anything is damaged or the end is missing."""
        if self.damage:
            more = f" (and {len(self._damage) - 1} more)" if len(self._damage) > 1 else ""
            raise BitstreamError(f"{self._damage[0]}{more}")
        if not self.complete:
            raise BitstreamError(f"truncated: the file ends after {self.frames} frames without its end record")
        if self.pending_bytes:
            raise BitstreamError(f"{self.pending_bytes} bytes follow the end that do not belong to the file")

    def read(self, start_frame: int = 0, frames: int | None = None) -> Int[Tensor, "frames num_codes"]:
        """Read codes.

        Args:
            start_frame: the first, counted from the first of the file.
            frames: number of frames to read; all that follow by default.

        Returns:
            ``(frames, num_codes)`` int64; −1 where frames are lost and in stages that the file leaves out.

        Raises:
            ValueError: frames that are not there, more than 2^27 codes at once, or a stream that cannot be seeked.
            BitstreamError: the codes need tables that were not given.
        """
        if not self.seekable:
            raise ValueError("a stream that cannot be seeked can only be iterated")
        check_numbers(start_frame=start_frame, frames=frames)
        there = self.frames
        wanted = there - start_frame if frames is None else frames
        if start_frame < 0 or wanted < 0 or start_frame + wanted > there:
            raise ValueError(f"frames {start_frame} to {start_frame + wanted} are not all there, the file has {there}")
        if wanted * self.num_codes > MAX_READ_CODES:
            raise ValueError(
                f"{wanted} frames of {self.num_codes} codes are too many to read at once: iterate over the file"
            )
        codes = np.full((wanted, self.num_codes), -1, np.int64)
        place = max(0, bisect_right(self._entries, start_frame, key=lambda entry: entry.start_frame) - 1)
        end = start_frame + wanted
        while place < len(self._entries) and (entry := self._entries[place]).start_frame < end:
            begin, place = entry.start_frame, place + 1
            first, last = max(start_frame, begin), min(end, begin + entry.frames)
            if entry.chunk is not None and last > first:
                found = self._decode(entry, self._fetch(entry))
                codes[first - start_frame : last - start_frame] = found[first - begin : last - begin]
        return tensor_of_codes(codes)

    def __iter__(self) -> Iterator[VqkBlock]:
        """Blocks of at most a chunk, one after the other, until the end of what has arrived."""
        if self.seekable:
            place = 0
            while place < len(self._entries) or self.refresh():
                entry = self._entries[place]
                yield from self._blocks(entry, self._fetch(entry))
                place += 1
            return
        for event in self._scanner.scan():
            arrived = self._note(event, keep=False)
            if arrived is not None:
                yield from self._blocks(arrived, event.record if isinstance(event, Found) else b"")

    def entries(self) -> Iterator[tuple[Entry, bytes]]:
        """Chunks and lost frames as they are in the file, without decoding; for what rearranges files."""
        self.refresh()
        for entry in self._entries:
            yield entry, self._fetch(entry)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- inside

    def _check_weights(self, model_hash: str | Sequence[str] | None) -> None:
        known = (model_hash,) if isinstance(model_hash, str) else model_hash
        if known is not None and self.header.model_hash not in known:
            stated = self.header.model_hash[:16] or "that it does not state"
            raise OtherModelError(
                f"written by model {self.header.model!r} with weights {stated}, not by the one at hand with weights {known[0][:16]}"
            )

    def _note(self, event: Found | Damage, keep: bool = True) -> Entry | None:
        if isinstance(event, Found):
            entry = Entry(event.start_frame, event.chunk.frames, event.offset, event.chunk)
        else:
            self._damage.append(event)
            entry = Entry(event.start_frame, event.frames)
        if not entry.frames:
            return None
        if keep:
            self._entries.append(entry)
        return entry

    def _fetch(self, entry: Entry) -> bytes:
        return b"" if entry.chunk is None else self._source.fetch(entry.offset, entry.chunk.size)

    def _blocks(self, entry: Entry, record: bytes) -> Iterator[VqkBlock]:
        if entry.chunk is not None:
            codes = tensor_of_codes(self._decode(entry, record))
            yield VqkBlock(entry.start_frame, codes, entry.offset in self._undecodable)
            return
        for first in range(0, entry.frames, self.header.largest_chunk):
            size = (min(entry.frames - first, self.header.largest_chunk), self.num_codes)
            yield VqkBlock(entry.start_frame + first, tensor_of_codes(np.full(size, -1, np.int64)), lost=True)

    def _decode(self, entry: Entry, record: bytes) -> np.ndarray:
        assert entry.chunk is not None
        self._decoder.require_model()
        try:
            return self._decoder.decode(entry.chunk, record)
        except BitstreamError as error:
            if entry.offset not in self._undecodable:
                self._undecodable.add(entry.offset)
                reason = f"a chunk cannot be decoded: {error}"
                self._damage.append(Damage(entry.offset, entry.chunk.size, entry.start_frame, entry.frames, reason))
            return np.full((entry.frames, self.num_codes), -1, np.int64)
