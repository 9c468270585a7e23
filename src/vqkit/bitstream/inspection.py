"""Inspection of the contents of a ``.vqk`` file, for people and programs; nothing is decoded."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from vqkit.bitstream.fields import number_bytes
from vqkit.bitstream.reader import VqkReader

__all__ = ["inspect"]


def inspect(source: str | Path | BinaryIO) -> dict[str, Any]:
    """Describe a file by numbers and text that JSON can hold.

    Args:
        source: path, or file that can be seeked.

    Returns:
        The header's fields; ``file_bytes``, ``frames``, ``seconds`` (None where there is no time), ``length``, ``chunks``, ``complete``,
        ``pending_bytes``; ``stages``, the least and the most of a chunk; ``variable_stages``, whether every frame has its own number of
        them, and ``count_bytes``, which say how many; ``kbps``, of all bytes of the file; ``stage_bytes``, those of each stage;
        ``thinned_bytes`` and ``thinned_kbps``, the file thinned to one stage, two and so on; of an image ``bpp`` and
        ``thinned_bpp``, the same in bits a pixel (else None); ``overhead_bytes``, all but codes and counts;
        ``damage``, a dict for each damaged place.

    Raises:
        BitstreamError: not a vqk file, a newer version, or damaged in its header.
        ValueError: a stream that cannot be seeked.
    """
    with VqkReader(source) as reader:
        if not reader.seekable:
            raise ValueError("a stream that cannot be seeked cannot be inspected")
        header = reader.header
        stage_bytes, saved, counts = [0] * header.num_stages, [0] * header.num_stages, []
        count_bytes = 0
        for entry, _ in reader.entries():
            if entry.chunk is not None:
                sizes = entry.chunk.stage_bytes
                counts.append(len(sizes))
                count_bytes += entry.chunk.count_bytes or 0
                for stage, stage_size in enumerate(sizes):
                    stage_bytes[stage] += stage_size
                    saved[stage] += stage_size + len(number_bytes(stage_size))
                    saved[stage] += len(number_bytes(stage + 1)) - len(number_bytes(stage)) if stage else 0
        size = reader.size
        seconds = reader.frames / header.frame_rate if header.frame_rate else None
        thinned = [size - sum(saved[stages:]) for stages in range(1, header.num_stages + 1)]
        return {
            "format_version": header.version,
            "model": header.model,
            "model_hash": header.model_hash,
            "code_sizes": list(header.code_sizes),
            "codes_per_stage": list(header.codes_per_stage),
            "coding": header.coding,
            "tables_hash": header.tables_hash,
            "tables_bytes": len(header.tables),
            "sample_rate": header.sample_rate,
            "hop_samples": header.hop_samples,
            "channels": header.channels,
            "grid": list(header.grid),
            "image_size": list(header.image_size),
            "frame_rate": header.frame_rate,
            "licence": header.licence,
            "metadata": dict(header.metadata),
            "file_bytes": size,
            "frames": reader.frames,
            "seconds": seconds,
            "length": reader.length,
            "chunks": len(counts),
            "stages": [min(counts, default=0), max(counts, default=0)],
            "variable_stages": header.variable_stages,
            "count_bytes": count_bytes,
            "complete": reader.complete,
            "pending_bytes": reader.pending_bytes,
            "kbps": _kbps(size, seconds),
            "stage_bytes": stage_bytes,
            "thinned_bytes": thinned,
            "thinned_kbps": [_kbps(bytes_, seconds) for bytes_ in thinned],
            "bpp": _bpp(size, header.pixels),
            "thinned_bpp": [_bpp(bytes_, header.pixels) for bytes_ in thinned],
            "overhead_bytes": size - sum(stage_bytes) - count_bytes,
            "damage": [asdict(damage) for damage in reader.damage],
        }


def _kbps(size: int, seconds: float | None) -> float | None:
    return size * 8 / seconds / 1000 if seconds else None


def _bpp(size: int, pixels: int) -> float | None:
    return size * 8 / pixels if pixels else None
