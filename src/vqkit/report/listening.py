"""The listening part of the page: every clip with its original and reconstructions, as players and spectrograms that need no other file."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from vqkit.report.clips import Clip
from vqkit.report.rates import rate_groups
from vqkit.report.results import Results
from vqkit.report.spectrogram import mel_power_db, read_audio, spectrogram_png
from vqkit.types import need

__all__ = ["ListeningClip", "Player", "data_uri", "listening_clips", "player", "spectrogram_peak"]


@dataclass(frozen=True)
class Player:
    """Player of one sound.

    Attributes:
        name: name of the system, or ``original``.
        detail: rate of the system, as text.
        audio_uri: the sound as FLAC, in a data URI.
        spectrogram_uri: its spectrogram as PNG, in a data URI.
        key: the key that plays it; may be empty.
        is_original: whether it is the clip itself.
        file_uri: the compressed file, in a data URI; empty where there is none to take.
        file_name: name of the compressed file.
    """

    name: str
    detail: str
    audio_uri: str
    spectrogram_uri: str
    key: str
    is_original: bool
    file_uri: str = ""
    file_name: str = ""


@dataclass(frozen=True)
class ListeningClip:
    """A clip, its original, and its reconstructions under the headings of their groups."""

    clip: Clip
    original: Player
    groups: tuple[tuple[str, tuple[Player, ...]], ...]


def listening_clips(results: Results, folder: Path | str) -> list[ListeningClip]:
    """Return all clips with everything embedded.

    Args:
        results: the comparison.
        folder: where its audio files are.

    Returns:
        One entry per clip. Systems without a reconstruction of the clip are left out.

    Raises:
        FileNotFoundError: an audio file is missing.
        ValueError: an audio file is not readable.
    """
    return [_listening_clip(clip, results, Path(folder)) for clip in results.examples if isinstance(clip, Clip)]


def data_uri(content: bytes, media_type: str) -> str:
    """Return content as a URI that holds it.

    Example:
        >>> data_uri(b"abc", "text/plain")
        'data:text/plain;base64,YWJj'
    """
    return f"data:{media_type};base64,{b64encode(content).decode()}"


def spectrogram_peak(path: Path) -> float:
    """Return the loudest value of a sound's spectrogram, in dB: the brightest of all that are compared with it."""
    return float(mel_power_db(*read_audio(path)).max())


def player(
    folder: Path,
    path: str,
    peak_db: float,
    name: str,
    detail: str,
    key: str,
    is_original: bool = False,
    file_uri: str = "",
    file_name: str = "",
) -> Player:
    """Return a sound with its spectrogram, both embedded.

    Args:
        folder: folder of the results.
        path: path of the sound, relative to the folder.
        peak_db: the spectrogram's brightest value, see `spectrogram_peak`.
        name: name of the sound; this and all that follow are those of `Player`.
        detail: a few words about the sound.
        key: key of the player.
        is_original: whether it is the original.
        file_uri: address of the file to download.
        file_name: name of the file to download.

    Returns:
        The player.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not readable as audio.
    """
    picture = data_uri(spectrogram_png(folder / path, peak_db), "image/png")
    sound = data_uri(_flac(folder / path), "audio/flac")
    return Player(name, detail, sound, picture, key, is_original, file_uri, file_name)


def _listening_clip(clip: Clip, results: Results, folder: Path) -> ListeningClip:
    peak_db = spectrogram_peak(folder / clip.original)
    original = player(folder, clip.original, peak_db, "original", "", "0", is_original=True)
    groups, count = [], 0
    for group in rate_groups(results.systems):
        players = []
        for system in group.members:
            if clip.name in system.reconstructions:
                count += 1
                key = str(count) if count < 10 else ""
                detail = f"{system.rate.mean:.3g} {results.modality.rate.unit}"
                players.append(player(folder, system.reconstructions[clip.name], peak_db, system.name, detail, key))
        if players:
            groups.append((group.heading, tuple(players)))
    return ListeningClip(clip, original, tuple(groups))


def _flac(path: Path) -> bytes:
    content = path.read_bytes()
    if content.startswith(b"fLaC"):
        return content
    samples, sample_rate = read_audio(path)
    file = BytesIO()
    need("soundfile", "audio").write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()
