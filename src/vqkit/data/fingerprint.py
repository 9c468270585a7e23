"""A short name for the contents of a data set, so that a cached run is reused only on the same data."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from vqkit.data.clips import Clip

_BLOCK_BYTES = 1 << 16
_BLOCKS = 16


def fingerprint(clips: Sequence[Clip]) -> str:
    """Hash what a run can see of its clips: names, splits, groups, labels and contents.

    The same on every machine: folder, order and file times play no part. Files up to 1 MiB are hashed whole; of larger ones the size and
    16 blocks of 64 KiB spread evenly from the first byte to the last, so that a large data set takes seconds.

    Args:
        clips: from `list_clips`.

    Returns:
        64 hexadecimal digits (SHA-256).

    Raises:
        FileNotFoundError: a file has gone.

    Example:
        >>> from vqkit.data import list_clips, sample_folder
        >>> clips = list_clips(sample_folder(), split="valid")
        >>> fingerprint(clips) == fingerprint(clips[::-1])
        True
    """
    total = hashlib.sha256()
    for clip in sorted(clips, key=lambda clip: clip.name):
        described = [clip.name, clip.split, clip.group, clip.labels, _hash_file(clip.path)]
        total.update(json.dumps(described, sort_keys=True).encode() + b"\n")
    return total.hexdigest()


def _hash_file(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        if size <= _BLOCKS * _BLOCK_BYTES:
            digest.update(file.read())
        else:
            for block in range(_BLOCKS):
                file.seek(block * (size - _BLOCK_BYTES) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()
