"""The videos of a data set: from a file, a folder or a manifest, in a fixed order."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vqkit.data.content import VIDEO_SUFFIXES, content_of_file
from vqkit.data.folders import class_of, split_of, walk
from vqkit.data.items import Item, kept
from vqkit.data.manifest import read_manifest

__all__ = ["VideoItem", "list_videos"]


@dataclass(frozen=True)
class VideoItem(Item):
    """Video of a data set.

    Attributes:
        labels: the manifest's columns.
    """

    labels: dict[str, str] = field(default_factory=dict, hash=False)


def list_videos(source: str | Path, split: str | None = None) -> list[VideoItem]:
    """List the videos of a data set, sorted by name.

    Args:
        source: a folder with a ``manifest.csv`` or such a file (see `vqkit.data.manifest`), another folder, or one video. What has a
            video's suffix is not opened: a damaged one is listed, too. Where none has a split, the hash of its name gives it one.
        split: keep this split only.

    Raises:
        FileNotFoundError: the source, or a file that its manifest lists, does not exist.
        SplitError: there is no such split.
        ValueError: the manifest is malformed, or no video is left.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"no such file or folder: {source}")
    manifest = source / "manifest.csv" if source.is_dir() else source
    if manifest.suffix.lower() == ".csv" and manifest.is_file():
        items = _from_manifest(manifest)
    elif source.is_dir():
        names = walk(source, VIDEO_SUFFIXES, _is_video)
        items = [VideoItem(source / name, name, split_of(name), label=class_of(name)) for name in names]
    else:
        items = [VideoItem(source, source.name)]
    if not items:
        raise ValueError(f"{source} holds no videos ({' '.join(sorted(VIDEO_SUFFIXES))})")
    return sorted(kept(items, source, "videos", split), key=lambda item: item.name)


def _from_manifest(manifest: Path) -> list[VideoItem]:
    return [
        VideoItem(
            manifest.parent / row["path"],
            PurePosixPath(row["path"]).as_posix(),
            row["split"],
            row.get("group", ""),
            {column: text for column, text in row.items() if column not in ("path", "split")},
            label=row.get("label", ""),
        )
        for row in read_manifest(manifest, VIDEO_SUFFIXES, _is_video)
    ]


def _is_video(path: Path) -> bool | None:
    """Return whether a file is a video, None where its format is unknown. A suffix of videos is trusted."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    try:
        content = content_of_file(path)
    except OSError:
        return None
    return content == "film" if content else None
