"""Music as notes, from a seed: a mood decides tempo, scale, register, density and drums.

Conventions
    Times are in seconds, pitches MIDI numbers (69 is 440 Hz), loudness 0 … 1.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["MOODS", "Mood", "Note", "Score", "compose"]


@dataclass(frozen=True)
class Mood:
    """Mood of generated music: its tempo, scale and sound, and the colour of its scenes.

    Attributes:
        name: name of the mood.
        tempo: slowest and fastest tempo, in beats a minute.
        scale: notes of the scale, in semitones above the tonic.
        tonic: pitch of the bass's tonic.
        density: share of the half beats with a note of the melody.
        drums: whether there are drums.
        brightness: brightness of the sound, from 0 (nearly sines) to 1.
        hue: hue of the scene's ground, 0 … 1.
    """

    name: str
    tempo: tuple[int, int]
    scale: tuple[int, ...]
    tonic: int
    density: float
    drums: bool
    brightness: float
    hue: float


MOODS = (
    Mood("calm", (60, 76), (0, 2, 4, 7, 9), 43, 0.35, False, 0.15, 0.55),
    Mood("happy", (112, 138), (0, 2, 4, 5, 7, 9, 11), 48, 0.7, True, 0.5, 0.12),
    Mood("sad", (54, 68), (0, 2, 3, 5, 7, 8, 10), 40, 0.3, False, 0.25, 0.7),
    Mood("tense", (140, 170), (0, 1, 3, 5, 7, 8, 11), 36, 0.85, True, 0.8, 0.98),
)


@dataclass(frozen=True)
class Note:
    """Note of a score.

    Attributes:
        start: start of the note in seconds.
        seconds: duration of the note in seconds.
        pitch: MIDI number.
        loudness: 0 … 1.
        voice: "bass", "chord", "melody" or "drum".
    """

    start: float
    seconds: float
    pitch: int
    loudness: float
    voice: str


@dataclass(frozen=True)
class Score:
    """Score of a piece of music.

    Attributes:
        mood: mood of the piece.
        tempo: beats a minute.
        seconds: duration.
        notes: notes in order of their voices, then of time.
    """

    mood: Mood
    tempo: int
    seconds: float
    notes: tuple[Note, ...]

    @property
    def beat(self) -> float:
        """Seconds of a beat; four are a bar."""
        return 60 / self.tempo

    def of(self, voice: str) -> list[Note]:
        """Notes of a voice."""
        return [note for note in self.notes if note.voice == voice]


def compose(mood: Mood, seconds: float, random: np.random.Generator) -> Score:
    """Compose a piece: a chord and a bass note a bar, a melody that wanders over the scale, and drums.

    Args:
        mood: mood of the piece.
        seconds: duration.
        random: generator of all random choices.
    """
    tempo = int(random.integers(*mood.tempo, endpoint=True))
    beat, tonic, notes = 60 / tempo, mood.tonic + int(random.integers(-3, 4)), []

    def pitch(degree: int) -> int:
        octave, step = divmod(degree, len(mood.scale))
        return tonic + 12 * octave + mood.scale[step]

    bars = int(np.ceil(seconds / (4 * beat)))
    roots = [int(random.choice([0, 3, 4, 5])) for _ in range(bars)]
    for bar, root in enumerate(roots):
        start, held = bar * 4 * beat, min(4 * beat, seconds - bar * 4 * beat)
        notes.append(Note(start, held, pitch(root), 0.8, "bass"))
        notes += [Note(start, held, pitch(root + step) + 12, 0.45, "chord") for step in (0, 2, 4)]
    degree = 2 * len(mood.scale)
    for half in range(int(seconds / (beat / 2))):
        degree = int(np.clip(degree + random.integers(-2, 3), len(mood.scale), 4 * len(mood.scale)))
        if half % 8 == 0:
            degree = 2 * len(mood.scale) + roots[half // 8]  # a bar begins on a note of its chord
        if half % 8 == 0 or random.random() < mood.density:
            loudness = 0.6 + 0.3 * (half % 2 == 0)
            notes.append(
                Note(half * beat / 2, 0.9 * beat / 2 * int(random.integers(1, 3)), pitch(degree), loudness, "melody")
            )
    if mood.drums:
        notes += [Note(step * beat, 0.12, 38 if step % 2 else 36, 0.7, "drum") for step in range(int(seconds / beat))]
    return Score(mood, tempo, seconds, tuple(note for note in notes if note.start < seconds))
