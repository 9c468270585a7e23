"""The items of a data set of any modality."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vqkit.data.audio.clips import list_clips
from vqkit.data.image.items import list_images
from vqkit.data.items import Item
from vqkit.data.video.items import list_videos
from vqkit.modality import IMAGE, SOUND, VIDEO, Modality

__all__ = ["list_items"]

_LISTED: dict[Modality, Callable[..., Sequence[Item]]] = {SOUND: list_clips, IMAGE: list_images, VIDEO: list_videos}


def list_items(source: str | Path, modality: Modality, split: str | None = None) -> list[Any]:
    """List clips, images or videos.

    Args:
        source: data set, as `list_clips`, `list_images` or `list_videos` takes it.
        modality: modality of the items to list.
        split: keep this split only.

    Returns:
        Items of the modality's own class, which derive from `Item`; errors as in the three functions.

    Example:
        >>> from vqkit.data import sample_folder
        >>> [item.name for item in list_items(sample_folder(), SOUND, "test")][0]
        'music/music24/test/sectoid_feelings.ogg'
    """
    return list(_LISTED[modality](source, split))
