import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def corpus(tmp_path):
    """Files of noise that only the hashing encoder takes for sound."""

    def make(count, bad=()):
        folder = tmp_path / "corpus"
        random = np.random.default_rng(0)
        for number in range(count):
            path = folder / f"{number % 3}" / f"{number:04d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bad[number] if number in bad else random.bytes(20 + number))
        return folder

    return make


def content(folder):
    """All files of a folder that are not hidden, with their bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


@pytest.fixture
def content_of():
    return content
