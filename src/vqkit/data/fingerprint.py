"""A short name for the contents of a data set, so that a cached run is reused only on the same data."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from vqkit.data.audio.clips import Clip
from vqkit.data.image.sets.arrow import saved_files
from vqkit.data.image.sets.packed import DIGITS, collection_pixels
from vqkit.data.items import Item

_BLOCK_BYTES = 1 << 16
_BLOCKS = 16


def fingerprint(items: Sequence[Item]) -> str:
    """Hash what a run can see of its clips or images: names, splits, groups, labels and contents.

    The same on every machine: folder, order and file times play no part. Files up to 1 MiB are hashed whole; of larger ones the size and
    16 blocks of 64 KiB spread evenly from the first byte to the last, so that a large data set takes seconds. Images that a saved folder
    holds as paths are known by their paths.

    Args:
        items: items from `list_clips` or `list_images`.

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
    hashes: dict[Path, str] = {}  # a file may hold many images
    for item in sorted(items, key=lambda item: item.name):
        if item.path not in hashes:
            hashes[item.path] = _hash_source(item.path)
        known = [item.group, item.labels] if isinstance(item, Clip) else [item.label, getattr(item, "index", None)]
        described = [item.name, item.split, *known, hashes[item.path]]
        total.update(json.dumps(described, sort_keys=True).encode() + b"\n")
    return total.hexdigest()


def _hash_source(path: Path) -> str:
    if path == DIGITS and not path.exists():
        return hashlib.sha256(collection_pixels(path).values.tobytes()).hexdigest()  # type: ignore[union-attr]
    return " ".join(map(_hash_file, saved_files(path) if path.is_dir() else [path]))


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
