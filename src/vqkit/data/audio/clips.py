"""The audio clips of a data set: from a manifest, a folder or one file, in a fixed order."""

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from vqkit.data.audio.file import audio_info
from vqkit.data.content import AUDIO_SUFFIXES, content_of_file
from vqkit.data.folders import class_of, split_of, walk
from vqkit.data.items import Item, kept
from vqkit.data.manifest import number, read_manifest
from vqkit.data.unreadable import READ_ERRORS, named

_NOT_LABELS = {"path", "split", "group", "duration", "sample_rate"}


@dataclass(frozen=True)
class Clip(Item):
    """Audio file of a data set.

    Attributes:
        seconds: duration as the manifest or the header states; 0 where neither was read.
        sample_rate: sample rate in Hz as the manifest or the header states; 0 where neither was read.
        labels: the manifest's other columns.
    """

    seconds: float = 0.0
    sample_rate: int = 0
    labels: dict[str, str] = field(default_factory=dict, hash=False)


def sample_folder() -> Path:
    """The folder of sample clips that ships with vqkit: music, stereo and speech with a manifest and licences.

    Returns:
        The folder; give it to `list_clips`.

    Example:
        >>> (sample_folder() / "manifest.csv").is_file()
        True
    """
    return Path(__file__).resolve().parents[2] / "samples"


def list_clips(source: str | Path, split: str | None = None, group: str | None = None) -> list[Clip]:
    """List the audio clips of a data set, sorted by name.

    Args:
        source: a folder, a manifest (.csv, see `vqkit.data.manifest`), or one audio file. A folder's ``manifest.csv`` is used where there
            is one; otherwise the folder is walked, and a part of the path named train, valid, validation or test gives the split.
            The content tells what is sound, not the suffix; images and video beside it are passed over, and files that are nothing we
            know are counted in a warning. Where no file has a split, the hash of its name gives it one (see `vqkit.data.items`).
        split: keep this split only.
        group: keep this group only.

    Returns:
        The clips. Files whose header had to be asked and cannot be read are left out and named in a warning.

    Raises:
        FileNotFoundError: the source, or a file that its manifest lists, does not exist.
        SplitError: there is no such split or group.
        ValueError: the manifest is malformed, no clip is left, or none can be read.

    Example:
        >>> clips = list_clips(sample_folder(), split="test", group="music")
        >>> [clip.name for clip in clips]
        ['music/music24/test/sectoid_feelings.ogg', 'music/stereo/test/freedoom_countd.flac']
        >>> clips[0].seconds, clips[0].labels["licence"]
        (9.0, 'MIT')
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    if source.is_dir() and (source / "manifest.csv").is_file():
        clips = _from_manifest(source / "manifest.csv")
    elif source.is_dir():
        names = walk(source, AUDIO_SUFFIXES, _is_sound)
        clips = [Clip(source / name, name, split_of(name), label=class_of(name)) for name in names]
    elif source.suffix.lower() == ".csv":
        clips = _from_manifest(source)
    else:
        info = audio_info(source)
        clips = [Clip(source, source.name, seconds=info.seconds, sample_rate=info.sample_rate)]
    if not clips:
        raise ValueError(f"{source} holds no audio files ({' '.join(sorted(AUDIO_SUFFIXES))})")
    clips = kept(clips, source, "audio", split, group)
    return _with_headers(sorted(clips, key=lambda clip: clip.name))


def _from_manifest(manifest: Path) -> list[Clip]:
    clips = []
    for row in read_manifest(manifest, AUDIO_SUFFIXES, _is_sound):
        path, name = manifest.parent / row["path"], PurePosixPath(row["path"]).as_posix()
        seconds, sample_rate = number(row, "duration", manifest), int(number(row, "sample_rate", manifest))
        labels = {column: text for column, text in row.items() if column not in _NOT_LABELS}
        known = (row["split"], row.get("group", ""), seconds, sample_rate, labels)
        clips.append(Clip(path, name, *known, label=row.get("label", "")))
    return clips


def _is_sound(path: Path) -> bool | None:
    """Return whether a file is sound and no film; None where its format is unknown."""
    named = path.suffix.lower() in AUDIO_SUFFIXES
    try:
        content = content_of_file(path)
    except OSError:  # what it is called decides; reading it says what is wrong
        return named or None
    if content == "film":  # containers of films may hold sound alone
        return named
    return content == "sound" if content else None


def _with_headers(clips: list[Clip]) -> list[Clip]:
    """Complete the clips by the facts of their headers, where the manifest has none; leave out those that cannot be read."""
    found, reasons = [], {}
    for clip in clips:
        if not (clip.seconds and clip.sample_rate):
            try:
                info = audio_info(clip.path)
            except READ_ERRORS as error:
                reasons[str(clip.path)] = str(error)
                continue
            seconds, sample_rate = clip.seconds or info.seconds, clip.sample_rate or info.sample_rate
            clip = replace(clip, seconds=seconds, sample_rate=sample_rate)
        found.append(clip)
    if not found:
        raise ValueError(f"no clip can be used, skipped {named(reasons, len(clips))}")
    if reasons:
        warnings.warn(f"skipped {named(reasons, len(clips))}", stacklevel=3)
    return found
