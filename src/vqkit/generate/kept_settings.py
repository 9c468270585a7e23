"""What the clips of a folder were made with, kept beside them: calls that were interrupted go on, others do not mix their clips in."""

import json
from pathlib import Path
from typing import Any

from vqkit.differences import first_difference
from vqkit.files import write_whole

__all__ = ["KeptSettings"]

_FILE = Path(".vqkit", "clips.json")


class KeptSettings:
    """Settings of the clips of a folder. Folders of a version that did not keep any are taken to be what is asked for.

    Args:
        folder: has ``.vqkit/clips.json`` once there is a clip.
        settings: what decides what a clip is, as JSON holds it.

    Raises:
        ValueError: the folder has clips of other settings, or the file is damaged.
    """

    def __init__(self, folder: str | Path, settings: dict[str, Any]) -> None:
        self._path, self._settings = Path(folder) / _FILE, settings
        self._written = self._path.is_file()
        if not self._written:
            return
        try:
            before = json.loads(self._path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{self._path} is damaged: {error}") from None
        for name in {**before, **settings} if isinstance(before, dict) else ():
            change = first_difference(before.get(name), settings.get(name), name)
            if change:
                raise ValueError(f"{folder} holds clips with {change}; choose another folder for these")

    def keep(self) -> None:
        """Write them; called whenever there is a clip, of which only the first matters."""
        if not self._written:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, (json.dumps(self._settings) + "\n").encode())
            self._written = True
