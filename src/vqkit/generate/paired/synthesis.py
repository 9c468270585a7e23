"""Notes to sound by additive synthesis: partials that fade, and noise for drums. It needs no soundfont and no package.

Sounds of real instruments come from `vqkit.generate.paired.soundfont`.
"""

import numpy as np

from vqkit.generate.paired.score import Note, Score
from vqkit.types import Float

__all__ = ["render"]

_PARTIALS = 8
_FADES = {"bass": 1.2, "chord": 1.8, "melody": 0.5}  # seconds to 1/e
_ATTACK_SECONDS = 0.008


def render(score: Score, sample_rate: int, random: np.random.Generator) -> Float[np.ndarray, " samples"]:
    """The waveform of a score, mono, at most 0.9 in size.

    Args:
        score: notes.
        sample_rate: sample rate in Hz.
        random: generator for the noise of the drums.
    """
    samples = round(score.seconds * sample_rate)
    wave = np.zeros(samples + sample_rate)
    for note in score.notes:
        sound = (
            _drum(note, sample_rate, random)
            if note.voice == "drum"
            else _tone(note, sample_rate, score.mood.brightness)
        )
        start = round(note.start * sample_rate)
        wave[start : start + len(sound)] += note.loudness * sound[: len(wave) - start]
    wave = wave[:samples]
    return (0.9 * wave / max(1e-9, float(np.abs(wave).max()))).astype(np.float32)


def _tone(note: Note, sample_rate: int, brightness: float) -> np.ndarray:
    tail = 0.08  # after the note is let go
    time = np.arange(round((note.seconds + tail) * sample_rate)) / sample_rate
    frequency = 440 * 2 ** ((note.pitch - 69) / 12)
    fade = _FADES[note.voice]
    sound = np.zeros_like(time)
    for partial in range(1, _PARTIALS + 1):
        if partial * frequency < sample_rate / 2:
            level = (0.15 + 0.75 * brightness) ** (partial - 1)
            sound += level * np.sin(2 * np.pi * partial * frequency * time) * np.exp(-time * partial**0.5 / fade)
    release = np.clip((note.seconds + tail - time) / tail, 0, 1)
    return 0.3 * sound * np.minimum(1, time / _ATTACK_SECONDS) * release


def _drum(note: Note, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    time = np.arange(round(note.seconds * sample_rate)) / sample_rate
    noise = random.standard_normal(len(time))
    if note.pitch == 36:  # a kick: a falling tone
        return np.sin(2 * np.pi * (50 * time + 4 * (1 - np.exp(-time * 30)))) * np.exp(-time * 25)
    return 0.5 * noise * np.exp(-time * 40)
