"""Thin, cut and join files: chunks are copied as they are, so nothing is decoded where nothing has to be."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from vqkit.bitstream.chunk_decoder import ChunkDecoder
from vqkit.bitstream.chunk_encoder import encoded_chunk
from vqkit.bitstream.entropy_model import EntropyModel
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.output import RecordWriter
from vqkit.bitstream.reader import Entry, VqkReader
from vqkit.counts import check_numbers, check_stages

__all__ = ["cut", "join", "thin"]

Target = str | Path | BinaryIO
Source = str | Path | BinaryIO


def thin(source: Source, target: Target, stages: int) -> None:
    """Leave out the last stages: a lower bitrate, without decoding and without the entropy model.

    What is lost in a damaged source stays lost in the target, frames keep their places, and a source without its end gives such a target.

    Args:
        source: path, or file that can be seeked.
        target: path or stream; may be the source's path.
        stages: number of stages to keep; chunks that have fewer are copied.

    Raises:
        BitstreamError: the source cannot be read.
        ValueError: stages out of range.

    Example:
        >>> import io, torch
        >>> from vqkit.bitstream import VqkHeader, VqkWriter
        >>> whole, half = io.BytesIO(), io.BytesIO()
        >>> with VqkWriter(whole, VqkHeader(code_sizes=(1024,) * 4)) as writer:
        ...     writer.write(torch.randint(0, 1024, (1000, 4)))
        >>> thin(io.BytesIO(whole.getvalue()), half, stages=2)
        >>> len(whole.getvalue()), len(half.getvalue())
        (5062, 2558)
    """
    with _reader(source) as reader:
        check_stages(stages, reader.header.num_stages, "the file")
        with RecordWriter(target, reader.header) as records:
            for entry, record in reader.entries():
                if entry.chunk is not None:
                    kept = entry.chunk.stages(record)[:stages]
                    records.chunk(entry.start_frame, entry.frames, kept, entry.chunk.counts(record))
            if reader.complete:
                records.end(reader.frames, reader.length)


def cut(
    source: Source, target: Target, start_frame: int, frames: int, *, entropy_model: EntropyModel | None = None
) -> None:
    """Copy a range of frames. Only the chunks that it begins and ends in are decoded and written anew.

    Args:
        source: path, or file that can be seeked.
        target: path or stream.
        start_frame: the first frame to copy.
        frames: number of frames to copy.
        entropy_model: the tables, where the file has none of its own and the range does not begin and end with chunks.

    Raises:
        BitstreamError: the source or a chunk to be decoded cannot be read, or the tables are missing.
        ValueError: frames that are not there.
    """
    check_numbers(start_frame=start_frame, frames=frames)
    with _reader(source, entropy_model) as reader:
        end = start_frame + frames
        if start_frame < 0 or frames < 0 or end > reader.frames:
            raise ValueError(f"frames {start_frame} to {end} are not all there, the file has {reader.frames}")
        length = reader.length
        if length is not None:
            hop, cells = reader.header.hop_samples, math.prod(reader.header.grid)
            length = max(0, min(length, -(-end // cells) * hop) - start_frame // cells * hop)
        decoder = ChunkDecoder(reader.header, entropy_model, None)
        with RecordWriter(target, replace(reader.header, length=length)) as records:
            for entry, record in reader.entries():
                first, last = max(entry.start_frame, start_frame), min(entry.start_frame + entry.frames, end)
                if entry.chunk is not None and first < last:
                    stages, counts = entry.chunk.stages(record), entry.chunk.counts(record)
                    if last - first < entry.frames:
                        stages, counts = _recoded(decoder, entry, record, first, last)
                    records.chunk(first - start_frame, last - first, stages, counts)
            records.end(frames, length)


def join(sources: Sequence[Source], target: Target) -> None:
    """Write files of the same codes one behind the other, as one file with the first one's header.

    Every file but the last counts as whole frames: the samples that its last frame has too many are not cut.

    Args:
        sources: paths, or files that can be seeked; at least one.
        target: path or stream; may be the path of a source.

    Raises:
        BitstreamError: a source cannot be read, or has other codes, rates, models or tables than the first.
        ValueError: no sources.
    """
    if not sources:
        raise ValueError("there are no files to join")
    readers = [_reader(source) for source in sources]
    try:
        header = readers[0].header
        for source, reader in zip(sources, readers, strict=True):
            if not reader.header.same_stream(header):
                raise BitstreamError(f"{source} has other codes, rates, model or tables than {sources[0]}")
        with RecordWriter(target, replace(header, length=None)) as records:
            base = 0
            for reader in readers:
                for entry, record in reader.entries():
                    if entry.chunk is not None:
                        stages, counts = entry.chunk.stages(record), entry.chunk.counts(record)
                        records.chunk(base + entry.start_frame, entry.frames, stages, counts)
                base += reader.frames
            last = readers[-1]
            length = last.length if last.complete else None
            if length is not None:
                length += (base - last.frames) // math.prod(header.grid) * header.hop_samples
            records.end(base, length)
    finally:
        for reader in readers:
            reader.close()


def _reader(source: Source, entropy_model: EntropyModel | None = None) -> VqkReader:
    reader = VqkReader(source, entropy_model=entropy_model)
    if not reader.seekable:
        reader.close()
        raise ValueError("a stream that cannot be seeked can only be read with VqkReader")
    return reader


def _recoded(
    decoder: ChunkDecoder, entry: Entry, record: bytes, first: int, last: int
) -> tuple[list[bytes], bytes | None]:
    """The stages of a part of a chunk, and what says how many each frame has."""
    assert entry.chunk is not None
    codes = decoder.decode(entry.chunk, record)[first - entry.start_frame : last - entry.start_frame]
    held = codes[:, : decoder.header.stage_ends[len(entry.chunk.stage_bytes) - 1]]
    return encoded_chunk(decoder.require_model(), decoder.header, held)
