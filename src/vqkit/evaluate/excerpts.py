"""A fixed, even choice of excerpts for listening tests: every speaker or piece alike, no draw of lots."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vqkit.data import Clip, list_clips
from vqkit.data.audio.file import read_clip
from vqkit.types import Float

__all__ = ["Excerpt", "Sound", "choose_excerpts", "load_excerpt", "source_clips"]

_SPREAD_OVER = ("speaker", "piece")


@dataclass(frozen=True)
class Excerpt:
    """A part of a clip, in seconds."""

    clip: Clip
    start: float
    seconds: float


@dataclass(frozen=True)
class Sound:
    """Sound that is coded and judged.

    Attributes:
        name: name that differs from that of every other sound.
        wav: mono waveform.
        sample_rate: sample rate in Hz.
        kind: ``"speech"`` or ``"music"``, which decides the metrics.
    """

    name: str
    wav: Float[Tensor, "1 samples"]
    sample_rate: int
    kind: str


def source_clips(source: str | Path, split: str, group: str | None = None) -> list[Clip]:
    """List the clips of a data set, or of a folder inside one: the manifest above the folder then gives split and speaker.

    Args:
        source: a folder, a manifest or one audio file, see `vqkit.data.list_clips`.
        split: keep this split only.
        group: keep this group only, where there is a manifest.

    Returns:
        The clips, sorted by name.

    Raises:
        FileNotFoundError: no such source.
        ValueError: no clips of this split.
    """
    folder = Path(source).absolute()
    above = [parent for parent in folder.parents if (parent / "manifest.csv").is_file()]
    if folder.is_dir() and not (folder / "manifest.csv").is_file() and above:
        inside = [clip for clip in list_clips(above[0], split) if folder in clip.path.absolute().parents]
        if inside:
            return inside
    if (folder / "manifest.csv").is_file() or folder.suffix.lower() == ".csv":
        return list_clips(source, split, group)
    return list_clips(source, split)


def choose_excerpts(clips: Sequence[Clip], count: int, seconds: float, min_seconds: float = 2.0) -> list[Excerpt]:
    """Excerpts, as many as are requested or as there are, in equal shares of the speakers or pieces.

    A clip is cut into excerpts of equal distance. Each speaker (else piece, else file) gives one excerpt before any gives two; which of
    its excerpts they are is spread evenly from its first to its last.

    Args:
        clips: clips of one kind.
        count: number of excerpts.
        seconds: longest duration of an excerpt; shorter clips are taken whole.
        min_seconds: shorter clips are left out.

    Returns:
        The excerpts, sorted by name and start; always the same for the same clips.

    Raises:
        ValueError: no clip is long enough, or a number is not positive.

    Example:
        >>> from vqkit.data import sample_folder
        >>> clips = list_clips(sample_folder(), "test", "music")
        >>> [(part.clip.labels["piece"], part.start, part.seconds) for part in choose_excerpts(clips, 3, 2.0)]
        [('sectoid_feelings', 2.4, 2.0), ('sectoid_feelings', 6.8, 2.0), ('freedoom_countd', 0.0, 2.0)]
    """
    if count < 1 or not seconds > 0:
        raise ValueError(f"count and seconds must be positive, got {count} and {seconds:g}")
    candidates: dict[str, list[Excerpt]] = {}
    for clip in sorted(clips, key=lambda clip: clip.name):
        if clip.seconds >= min_seconds:
            voice = next((clip.labels[key] for key in _SPREAD_OVER if clip.labels.get(key)), clip.name)
            candidates.setdefault(voice, []).extend(_parts(clip, seconds))
    if not candidates:
        raise ValueError(f"no clip of at least {min_seconds:g} s among {len(clips)}")
    shares = dict.fromkeys(candidates, 0)
    left = min(count, sum(map(len, candidates.values())))
    while left:
        for voice in [voice for voice in candidates if shares[voice] < len(candidates[voice])][:left]:
            shares[voice] += 1
            left -= 1
    chosen = [
        found[(2 * i + 1) * len(found) // (2 * shares[voice])]
        for voice, found in candidates.items()
        for i in range(shares[voice])
    ]
    return sorted(chosen, key=lambda part: (part.clip.name, part.start))


def load_excerpt(excerpt: Excerpt, kind: str, sample_rate: int) -> Sound:
    """Read an excerpt, mono at this rate; its name is the file's, with the start in seconds where it is not the beginning."""
    start = f" {excerpt.start:.3g}s" if excerpt.start else ""
    samples = read_clip(excerpt.clip.path, sample_rate, 1, excerpt.start, excerpt.seconds)
    return Sound(f"{excerpt.clip.name}{start}", samples, sample_rate, kind)


def _parts(clip: Clip, seconds: float) -> list[Excerpt]:
    """The parts of a clip, as many as fit, with equal gaps between them."""
    if clip.seconds <= seconds:
        return [Excerpt(clip, 0.0, clip.seconds)]
    count = int(clip.seconds // seconds)
    gap = (clip.seconds - count * seconds) / (count + 1)
    return [Excerpt(clip, round(gap + i * (seconds + gap), 3), seconds) for i in range(count)]
