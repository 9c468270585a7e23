"""Encoding of one chunk's codes into bytes."""

import numpy as np

from vqkit.bitstream.entropy_model import EntropyModel, encoded_frames
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.stage_counts import encode_counts

__all__ = ["encoded_chunk", "stage_counts"]


def stage_counts(header: VqkHeader, codes: np.ndarray) -> np.ndarray:
    """Count the stages of each frame, ``(frames,)`` int64; −1 where a frame's codes do not fill a whole number of first stages.

    Args:
        header: header of the file.
        codes: ``(frames, codes of the first stages)`` int64; −1 for those of stages that a frame leaves out.
    """
    held = codes >= 0
    number = held.sum(axis=1)
    counts = np.full(1 + header.num_codes, -1)
    counts[list(header.stage_ends)] = np.arange(1, 1 + header.num_stages)
    return np.where((held == (np.arange(codes.shape[1]) < number[:, None])).all(axis=1), counts[number], -1)


def encoded_chunk(model: EntropyModel, header: VqkHeader, codes: np.ndarray) -> tuple[list[bytes], bytes | None]:
    """The bytes of every stage that some frame has, and those that say how many stages each has.

    Args:
        model: entropy model of the file.
        header: header of the file.
        codes: ``(frames, codes of the first stages)`` int64, at least one frame.

    Returns:
        Stages, and None in place of the counts where all frames have the same.
    """
    starts = (0, *header.stage_ends)
    if not header.variable_stages:
        ends = [end for end in header.stage_ends if end <= codes.shape[1]]
        return [model.encode(codes, start, end) for start, end in zip(starts, ends, strict=False)], None
    counts, places = stage_counts(header, codes), np.arange(len(codes))
    stages = []
    for stage in range(int(counts.max())):
        there = counts > stage
        stages.append(encoded_frames(model, codes[there], starts[stage], starts[stage + 1], places[there]))
    return stages, encode_counts(counts, header.num_stages, header.coding)
