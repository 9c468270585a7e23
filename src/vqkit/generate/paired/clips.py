"""A folder of paired clips: train, valid and test, each clip of a mood, all from one seed."""

from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vqkit.files import NewFile
from vqkit.generate.kept_settings import KeptSettings
from vqkit.generate.paired.scene import draw
from vqkit.generate.paired.score import MOODS, Mood, compose
from vqkit.generate.paired.soundfont import render_with_soundfont
from vqkit.generate.paired.synthesis import render
from vqkit.types import need

__all__ = ["write_pair", "write_pairs"]

SAMPLE_RATE = 16000
_SOUND_FRAME = 1024


def write_pairs(
    folder: str | Path,
    *,
    train: int = 120,
    valid: int = 24,
    test: int = 24,
    seconds: float = 8.0,
    size: int = 96,
    rate: int = 10,
    seed: int = 0,
    soundfont: str | Path | None = None,
    watch: Callable[[float], None] = lambda share: None,
) -> list[Path]:
    """Write clips; those that exist already are left as they are, so that an interrupted call goes on.

    Args:
        folder: gets folders train, valid and test.
        train: number of training clips; the moods take turns.
        valid: number of validation clips.
        test: number of test clips.
        seconds: duration of a clip.
        size: side of the picture in pixels, even.
        rate: pictures a second.
        seed: each clip depends on seed, split and number only.
        soundfont: file of instruments for `vqkit.generate.paired.soundfont`; None synthesises the sound.
        watch: called with the share that is done.

    Returns:
        The files.

    Raises:
        ValueError: an argument out of range, the folder has clips made with others, or the sound cannot be made with the soundfont.
    """
    if min(train, valid, test) < 0 or not seconds >= 1 or size < 16 or size % 2 or rate < 1 or seed < 0:
        raise ValueError(
            "train, valid, test and seed must be at least 0, seconds and rate at least 1 and size even and at least 16, got "
            f"{train}, {valid}, {test}, {seed}, {seconds}, {rate} and {size}"
        )
    instruments = None if soundfont is None else Path(soundfont).name
    kept = KeptSettings(
        folder, {"seconds": seconds, "size": size, "rate": rate, "seed": seed, "soundfont": instruments}
    )
    total, found = train + valid + test, []
    for split, count in (("train", train), ("valid", valid), ("test", test)):
        for number in range(count):
            mood = MOODS[number % len(MOODS)]
            path = Path(folder) / split / f"{mood.name}_{number:04d}.mp4"
            if not path.exists():
                kept.keep()
                path.parent.mkdir(parents=True, exist_ok=True)
                key = {"train": 0, "valid": 1, "test": 2}[split]
                write_pair(path, mood, seconds, size, rate, np.random.default_rng((seed, key, number)), soundfont)
            found.append(path)
            watch(len(found) / total)
    return found


def write_pair(
    path: Path,
    mood: Mood,
    seconds: float,
    size: int,
    rate: int,
    random: np.random.Generator,
    soundfont: str | Path | None = None,
) -> None:
    """Write one clip: H.264 and AAC in an mp4 file."""
    av = need("av", "audio")
    score = compose(mood, seconds, random)
    wave = (
        render(score, SAMPLE_RATE, random)
        if soundfont is None
        else render_with_soundfont(score, soundfont, SAMPLE_RATE)
    )
    with NewFile(path) as new, closing(av.open(str(new.temporary), "w", format="mp4")) as file:
        picture = file.add_stream("libx264", rate=rate, options={"crf": "20", "threads": "1", "bf": "0"})
        picture.width = picture.height = size
        picture.pix_fmt = "yuv420p"
        voice = file.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        written = 0
        for number, pixels in enumerate(draw(score, size, rate)):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            due = round((number + 1) / rate * SAMPLE_RATE)
            while written + _SOUND_FRAME <= due:
                file.mux(voice.encode(_frame(av, wave, written)))
                written += _SOUND_FRAME
        while written < len(wave):
            file.mux(voice.encode(_frame(av, wave, written)))
            written += _SOUND_FRAME
        file.mux(picture.encode(None))
        file.mux(voice.encode(None))


def _frame(av: Any, wave: np.ndarray, start: int) -> Any:
    frame = av.AudioFrame.from_ndarray(wave[None, start : start + _SOUND_FRAME], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
    return frame
