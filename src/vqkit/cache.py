"""Runs are kept under a key of all that decides them; a run is complete when its JSON is there."""

import hashlib
import json
from pathlib import Path
from typing import Any

from vqkit.files import write_whole

__all__ = ["key_of", "read_json", "write_json"]


def key_of(**parts: Any) -> str:
    """Short digest of JSON-able parts.

    Example:
        >>> key_of(seed=1) == key_of(seed=1) != key_of(seed=2)
        True
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any] | None:
    """The content, or None where there is no complete file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: Any) -> None:
    """Write whole or not at all."""
    write_whole(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
