"""Synthetic videos whose class is a kind of motion, which no single frame shows.

A shape moves over a ground of soft stripes, beside a second shape that stands still. Colours, shapes, sizes, speeds and places are drawn
from the same distributions for all kinds; a path is centred on a random point, so that the mean position says nothing either.
"""

import colorsys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from vqkit.data.video.writer import write_frames
from vqkit.generate.kept_settings import SPLITS, KeptSettings
from vqkit.types import Float, Int

__all__ = ["MOTIONS", "draw_motion", "write_motions"]

MOTIONS = ("left", "right", "up", "down", "clockwise", "anticlockwise", "growing", "shrinking")
_SHAPES = ("disc", "square", "triangle")


def draw_motion(
    motion: str, frames: int, size: int, random: np.random.Generator
) -> Iterator[Int[np.ndarray, "size size 3"]]:
    """Frames of one clip, uint8 RGB.

    Args:
        motion: one of `MOTIONS`.
        frames: number of frames.
        size: side in pixels.
        random: decides everything but the motion.

    Raises:
        ValueError: an unknown motion.

    Example:
        >>> first, *_, last = draw_motion("left", 8, 32, np.random.default_rng(0))
        >>> first.shape, bool((first == last).all())
        ((32, 32, 3), False)
    """
    if motion not in MOTIONS:
        raise ValueError(f"motion must be one of {', '.join(MOTIONS)}, got {motion!r}")
    rows, columns = np.mgrid[0:size, 0:size] / (size - 1)
    hues = random.permutation(6)[:3] / 6 + random.uniform(0, 1 / 6)
    colours = [np.array(colorsys.hsv_to_rgb(hue % 1, 0.8, value)) for hue, value in zip(hues, (0.5, 1, 1), strict=True)]
    angle, waves = random.uniform(0, np.pi), random.uniform(2, 5)
    stripes = np.sin(2 * np.pi * waves * (np.cos(angle) * rows + np.sin(angle) * columns))
    still = random.uniform(0.15, 0.85, 2)
    centre, reach = random.uniform(0.35, 0.65, 2), random.uniform(0.15, 0.25)
    radius, start = random.uniform(0.1, 0.16), random.uniform(0, 2 * np.pi)
    shapes = [_SHAPES[index] for index in random.integers(len(_SHAPES), size=2)]
    for number in range(frames):
        down, right, scale = _state(motion, number / max(1, frames - 1), start)
        picture = np.tile(colours[0], (size, size, 1)) * (0.8 + 0.2 * stripes[..., None])
        picture[_inside(shapes[0], rows - still[0], columns - still[1], 0.1)] = colours[1]
        place = centre + reach * np.array([down, right])
        picture[_inside(shapes[1], rows - place[0], columns - place[1], radius * scale)] = colours[2]
        yield np.clip(255 * picture, 0, 255).astype(np.uint8)


def _state(motion: str, time: float, start: float) -> tuple[float, float, float]:
    """Distance down and to the right of the centre, in reaches, and the scale, at a time in 0 … 1."""
    along = 2 * time - 1
    if motion in ("left", "right"):
        return 0.0, along if motion == "right" else -along, 1.0
    if motion in ("up", "down"):
        return along if motion == "down" else -along, 0.0, 1.0
    if motion in ("clockwise", "anticlockwise"):
        # rows grow downwards: an angle that grows turns clockwise on the screen
        turned = start + 2 * np.pi * time * (1 if motion == "clockwise" else -1)
        return float(np.sin(turned)), float(np.cos(turned)), 1.0
    return 0.0, 0.0, 2.0 ** (along if motion == "growing" else -along)


def _inside(
    shape: str, down: Float[np.ndarray, "size size"], right: Float[np.ndarray, "size size"], radius: float
) -> np.ndarray:
    if shape == "disc":
        found = down**2 + right**2 < radius**2
    elif shape == "square":
        found = np.maximum(np.abs(down), np.abs(right)) < 0.87 * radius
    else:
        found = (down < 0.7 * radius) & (down > 2.2 * np.abs(right) - 1.1 * radius)
    return np.asarray(found)


def write_motions(
    folder: str | Path,
    *,
    train: int = 400,
    valid: int = 80,
    test: int = 160,
    frames: int = 32,
    size: int = 48,
    rate: int = 16,
    seed: int = 0,
    watch: Callable[[float], None] = lambda share: None,
) -> list[Path]:
    """Write clips into folders of splits and motions; those that exist are left as they are, so that an interrupted call goes on.

    Args:
        folder: gets ``train/left/0000.mp4`` and so on.
        train: number of training clips; the motions take turns.
        valid: number of validation clips.
        test: number of test clips.
        frames: number of frames of a clip.
        size: side of the picture in pixels, even.
        rate: frames a second.
        seed: each clip depends on seed, split and number only.
        watch: called with the share that is done.

    Returns:
        The files.

    Raises:
        ValueError: an argument out of range, or the folder has clips made with others.
    """
    if min(train, valid, test, seed) < 0 or frames < 2 or size < 16 or size % 2 or rate < 1:
        raise ValueError(
            "train, valid, test and seed must be at least 0, frames at least 2, rate at least 1 and size even and at least 16, got "
            f"{train}, {valid}, {test}, {seed}, {frames}, {rate} and {size}"
        )
    kept = KeptSettings(folder, {"frames": frames, "size": size, "rate": rate, "seed": seed})
    total, found = train + valid + test, list[Path]()
    for key, (split, count) in enumerate(zip(SPLITS, (train, valid, test), strict=True)):
        for number in range(count):
            motion = MOTIONS[number % len(MOTIONS)]
            path = Path(folder) / split / motion / f"{number:04d}.mp4"
            if not path.exists():
                kept.keep()
                path.parent.mkdir(parents=True, exist_ok=True)
                write_frames(path, draw_motion(motion, frames, size, np.random.default_rng((seed, key, number))), rate)
            found.append(path)
            watch(len(found) / total)
    return found
