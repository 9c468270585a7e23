"""Decoding of one chunk's codes."""

import numpy as np

from vqkit.bitstream.entropy_model import EntropyModel, decoded_frames, model_of
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.records import Chunk
from vqkit.bitstream.stage_counts import decode_counts
from vqkit.counts import check_stages

__all__ = ["ChunkDecoder"]


class ChunkDecoder:
    """Decoder of a file's chunks with its entropy model.

    Args:
        header: header of the file.
        entropy_model: the tables, where the file has none of its own. Without them nothing can be decoded, but all else works.
        stages: number of stages to decode; all by default.

    Raises:
        BitstreamError: the tables are not those of the file.
        ValueError: stages out of range.
    """

    def __init__(self, header: VqkHeader, entropy_model: EntropyModel | None, stages: int | None) -> None:
        if stages is not None:
            check_stages(stages, header.num_stages, "the file")
        self.header = header
        self.model = model_of(header, entropy_model)
        self.stages = header.num_stages if stages is None else stages
        self.num_codes = header.stage_ends[self.stages - 1]

    def require_model(self) -> EntropyModel:
        """The entropy model, or `BitstreamError` that says which one is missing."""
        if self.model is None:
            header = self.header
            raise BitstreamError(
                f"the codes need the {header.coding} tables {header.tables_hash} of model {header.model!r}, which were not given"
            )
        return self.model

    def decode(self, chunk: Chunk, record: bytes) -> np.ndarray:
        """Codes (frames, num_codes) int64; −1 in stages that the chunk leaves out.

        Raises:
            BitstreamError: the record does not hold such codes, or the tables are missing.
        """
        model = self.require_model()
        if len(record) != chunk.size or not chunk.intact(record):
            raise BitstreamError("it has changed since the file was scanned")
        codes = np.full((chunk.frames, self.num_codes), -1, np.int64)
        counts = self._counts(chunk, record)
        start = 0
        for stage, (data, stop) in enumerate(
            zip(chunk.stages(record)[: self.stages], self.header.stage_ends, strict=False)
        ):
            if counts is None:
                codes[:, start:stop] = model.decode(data, codes[:, :start], stop)
            else:
                there = np.flatnonzero(counts > stage)
                codes[there, start:stop] = decoded_frames(model, data, codes[there, :start], stop, there)
            start = stop
        return codes

    def _counts(self, chunk: Chunk, record: bytes) -> np.ndarray | None:
        """Return the number of stages of each frame as written, those since thinned away included; None where all have the same."""
        data = chunk.counts(record)
        return None if data is None else decode_counts(data, chunk.frames, self.header.num_stages, self.header.coding)
