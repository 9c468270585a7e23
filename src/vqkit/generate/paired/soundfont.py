"""Notes to sound with the instruments of a soundfont: a score as a MIDI file, and FluidSynth, which plays it.

Debian has both: ``fluidsynth`` and ``timgm6mb-soundfont``.

References:
    "Standard MIDI files 1.0" (RP-001, 1996); "General MIDI 1" (instruments and drums by number).
"""

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from vqkit.data import read_audio
from vqkit.generate.paired.score import Score
from vqkit.types import Float

__all__ = ["midi_file", "render_with_soundfont"]

_TICKS = 480  # of a quarter note, which is half a second where no tempo is stated
_TICKS_A_SECOND = 2 * _TICKS
_CHANNELS = {"bass": 0, "chord": 1, "melody": 2, "drum": 9}
_PROGRAMS = {  # General MIDI, counted from 0: bass, chord, melody
    "calm": (32, 89, 11),  # acoustic bass, warm pad, vibraphone
    "happy": (33, 0, 73),  # finger bass, piano, flute
    "sad": (42, 48, 40),  # cello, strings, violin
    "tense": (38, 62, 80),  # synthesizer bass, brass, square lead
}
_PATIENCE_SECONDS = 120


def midi_file(score: Score) -> bytes:
    """The score as a MIDI file of one track, whose times are the notes' own.

    Args:
        score: notes; their mood decides the instruments.
    """
    events = [(0, 0, bytes([0xC0 | channel, program])) for channel, program in enumerate(_PROGRAMS[score.mood.name])]
    for note in score.notes:
        channel, first = _CHANNELS[note.voice], round(note.start * _TICKS_A_SECOND)
        last = max(first + 1, round((note.start + note.seconds) * _TICKS_A_SECOND))
        events.append((first, 2, bytes([0x90 | channel, note.pitch, max(1, round(127 * note.loudness))])))
        events.append(
            (last, 1, bytes([0x80 | channel, note.pitch, 0]))
        )  # a note ends before the next of its pitch begins
    events.append((max(last for last, _, _ in events), 3, b"\xff\x2f\x00"))
    track, now = bytearray(), 0
    for tick, _, message in sorted(events):
        track += _variable(tick - now) + message
        now = tick
    return struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, _TICKS, b"MTrk", len(track)) + bytes(track)


def _variable(value: int) -> bytes:
    """A number of seven bits a byte, the highest first; all bytes but the last have the top bit."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(value & 0x7F | 0x80)
    return bytes(reversed(parts))


def render_with_soundfont(score: Score, soundfont: str | Path, sample_rate: int) -> Float[np.ndarray, " samples"]:
    """The waveform of a score, mono, at most 0.9 in size.

    Args:
        score: notes.
        soundfont: file of the instruments, ``.sf2`` or ``.sf3``.
        sample_rate: sample rate in Hz.

    Raises:
        ValueError: FluidSynth is not installed or cannot play, or there is no such soundfont.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise ValueError("a soundfont needs FluidSynth, which is not installed: Debian's package fluidsynth")
    if not Path(soundfont).is_file():
        raise ValueError(
            f"no such soundfont: {soundfont}; Debian's timgm6mb-soundfont has /usr/share/sounds/sf2/TimGM6mb.sf2"
        )
    with tempfile.TemporaryDirectory() as folder:
        notes, sound = Path(folder) / "score.mid", Path(folder) / "score.wav"
        notes.write_bytes(midi_file(score))
        # without reverberation and chorus, which would go on behind a note's end
        options = ["-n", "-i", "-q", "-R", "0", "-C", "0", "-r", str(sample_rate), "-T", "wav", "-F", str(sound)]
        words = [program, *options, str(Path(soundfont).resolve()), str(notes)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise ValueError(f"FluidSynth did not finish a score in {_PATIENCE_SECONDS} seconds") from None
        if done.returncode or not sound.is_file():
            lines = done.stderr.strip().splitlines()
            raise ValueError(f"FluidSynth cannot play with {soundfont}: {lines[-1] if lines else done.returncode}")
        played = read_audio(sound, sample_rate, 1).samples[0].numpy().astype(np.float64)
    samples = round(score.seconds * sample_rate)
    wave = np.zeros(samples)
    wave[: min(samples, len(played))] = played[:samples]
    return (0.9 * wave / max(1e-9, float(np.abs(wave).max()))).astype(np.float32)
