"""Pictures that follow a score: colour by mood, a cut every bar, a ball that jumps with the melody and pulses with the beat.

ground     hue of the mood, moved a little by the chord; a cut at each bar changes its lightness
ball       height by the pitch of the melody, across the picture once a bar, larger on the beat
frame      lights up with each drum
"""

import colorsys
from collections.abc import Iterator

import numpy as np

from vqkit.generate.paired.score import Score
from vqkit.types import Int

__all__ = ["draw"]


def draw(score: Score, size: int, rate: int) -> Iterator[Int[np.ndarray, "size size 3"]]:
    """Pictures of a score, uint8 RGB.

    Args:
        score: what is heard.
        size: side in pixels.
        rate: pictures a second.
    """
    rows, columns = np.mgrid[0:size, 0:size] / (size - 1)
    melody, drums, bass = score.of("melody"), score.of("drum"), score.of("bass")
    pitches = [note.pitch for note in melody]
    low, high = min(pitches), max(max(pitches), min(pitches) + 1)
    for number in range(round(score.seconds * rate)):
        time = number / rate
        bar = int(time / (4 * score.beat))
        chord = (bass[min(bar, len(bass) - 1)].pitch - score.mood.tonic) / 12
        lightness = 0.35 + 0.35 * (bar % 2)
        ground = np.array(colorsys.hsv_to_rgb((score.mood.hue + 0.06 * chord) % 1, 0.75, lightness))
        picture = ground * (0.75 + 0.25 * rows[..., None])
        sounding = [note for note in melody if note.start <= time + 1e-6]
        height = (sounding[-1].pitch - low) / (high - low) if sounding else 0.5
        phase = (time / score.beat) % 1
        radius = 0.08 + 0.08 * np.exp(-4 * phase)
        across = (time / (4 * score.beat)) % 1
        ball = (columns - (0.1 + 0.8 * across)) ** 2 + (rows - (0.9 - 0.8 * height)) ** 2 < radius**2
        picture[ball] = 1 - ground * 0.3
        if any(0 <= time - note.start < 1.5 / rate for note in drums):
            edge = (np.minimum(rows, 1 - rows) < 0.06) | (np.minimum(columns, 1 - columns) < 0.06)
            picture[edge] = 1.0
        yield np.clip(255 * picture, 0, 255).astype(np.uint8)
