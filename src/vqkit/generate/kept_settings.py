"""What the clips of a folder were made with, kept beside them: calls that were interrupted go on, others do not mix their clips in."""

import json
import warnings
from pathlib import Path
from typing import Any

from vqkit.differences import first_difference
from vqkit.files import write_whole

__all__ = ["SPLITS", "KeptSettings", "settings_known"]

SPLITS = ("train", "valid", "test")
"""Folders that clips are written to."""

_FILE = Path(".vqkit", "clips.json")


class KeptSettings:
    """Settings of the clips of a folder. Clips of a version that did not keep any stay, and a warning says that nothing is known of them.

    Args:
        folder: has ``.vqkit/clips.json``, and clips in folders of `SPLITS`.
        settings: what decides what a clip is, as JSON holds it.

    Raises:
        ValueError: the folder has clips of other settings, or the file is damaged.
    """

    def __init__(self, folder: str | Path, settings: dict[str, Any]) -> None:
        self._path, self._settings = Path(folder) / _FILE, settings
        clips = any(True for split in SPLITS for _ in (Path(folder) / split).rglob("*.mp4"))
        self._kept = clips  # what was kept of clips that are gone counts for nothing
        if not clips:
            return
        if not self._path.is_file():
            warnings.warn(
                f"{folder} holds clips, but not the settings they were made with: they stay as they are, whatever is asked for",
                stacklevel=3,
            )
            return
        try:
            before = json.loads(self._path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{self._path} is damaged: {error}") from None
        if not isinstance(before, dict):
            raise ValueError(f"{self._path} is damaged: it must hold an object, got {type(before).__name__}")
        for name in {**before, **settings}:
            change = first_difference(before.get(name), settings.get(name), name)
            if change:
                raise ValueError(f"{folder} holds clips with {change}; choose another folder for these")

    def keep(self) -> None:
        """Write them; called before each clip, of which only the first matters: one that is interrupted then has its settings."""
        if not self._kept:
            write_whole(self._path, (json.dumps(self._settings) + "\n").encode())
            self._kept = True


def settings_known(folder: str | Path) -> bool:
    """Return whether the settings of a folder's clips were kept, so that those of a call that went through are theirs."""
    return (Path(folder) / _FILE).is_file()
