"""Data of a comparison: the clips, images or videos that it trains on and is measured on."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from vqkit.data import Clip, ImageItem, Item, SplitError, list_clips, list_images, sample_folder
from vqkit.data.audio.file import read_clip
from vqkit.data.unreadable import readable
from vqkit.data.video import VideoItem, list_videos, read_frames
from vqkit.modality import SOUND

__all__ = ["Dataset"]

_Item = TypeVar("_Item", bound=Item)


@dataclass(frozen=True)
class Dataset:
    """The clips, images or videos of a comparison.

    Args:
        source: a folder (with splits or without, with manifest.csv or without), a manifest, for images also what else
            `vqkit.data.list_images` takes, or ``"samples"`` for what ships with vqkit.
        test_source: data set of the test items, if it is another one.
        groups: only these groups of sound (``music``, ``speech``, …), or these classes of images or videos; all when empty.
        min_seconds: duration in seconds below which clips are left out.
        max_train: largest number of training items, spread evenly over the set; 0 keeps all.
        max_test: largest number of test items, spread evenly over the set; 0 keeps all.
        split: split that is measured: ``test``, or ``valid`` while choosing settings.
    """

    source: str = "samples"
    test_source: str = ""
    groups: tuple[str, ...] = ()
    min_seconds: float = 1.0
    max_train: int = 0
    max_test: int = 0
    split: str = "test"

    def clips(self, training: bool) -> list[Clip]:
        """Clips to train on, or to measure on, groups in turn."""
        place, split, most = self._wanted(training)
        every = self._listed(list_clips, place, split)
        found = [clip for clip in every if clip.seconds >= self.min_seconds]
        short = SOUND.count(len(every) - len(found))
        if not found:
            raise ValueError(
                f"no {split} clips of at least {self.min_seconds:g} s in {place}: --data.min_seconds takes shorter ones"
            )
        if len(found) < len(every) and place != "samples":  # what ships holds short ones on purpose
            warnings.warn(
                f"left out {short} of {len(every)} of {place}, shorter than the {self.min_seconds:g} s of --data.min_seconds",
                stacklevel=2,
            )
        chosen = self._spread(found, most, f"the {split} split of {place}")
        if training:  # crops of what cannot be read are replaced as they are drawn
            return chosen
        return [clip for clip, _ in readable(chosen, lambda clip: clip.path, lambda clip: read_clip(clip.path))]

    def images(self, training: bool) -> list[ImageItem]:
        """Images to train on, or to measure on, classes in turn."""
        place, split, most = self._wanted(training)
        return self._spread(self._listed(list_images, place, split), most, f"the {split} split of {place}")

    def videos(self, training: bool) -> list[VideoItem]:
        """Videos to train on, or to measure on, classes in turn; what cannot be read is left out of what is measured."""
        place, split, most = self._wanted(training)
        found = self._spread(self._listed(list_videos, place, split), most, f"the {split} split of {place}")
        if training:  # clips of what cannot be read are replaced as they are drawn
            return found
        return [item for item, _ in readable(found, lambda item: item.path, lambda item: read_frames(item.path, 1))]

    def _listed(self, listed: Callable[[str | Path, str], list[_Item]], place: str, split: str) -> list[_Item]:
        try:
            return listed(sample_folder() if place == "samples" else place, split)
        except SplitError as error:
            flag = "--data.source" if split == "train" else "--data.split or --data.test_source"
            raise ValueError(f"{error}: {flag} names another") from None

    def _wanted(self, training: bool) -> tuple[str, str, int]:
        if training:
            return self.source, "train", self.max_train
        return self.test_source or self.source, self.split, self.max_test

    def _spread(self, found: Sequence[_Item], most: int, where: str) -> list[_Item]:
        by_name: dict[str, list[_Item]] = {}
        for item in found:
            by_name.setdefault(item.group or item.label, []).append(item)
        unknown = set(self.groups) - set(by_name)
        if unknown:
            raise ValueError(
                f"--data.groups names {', '.join(sorted(unknown))}; {where} has {', '.join(sorted(by_name))}"
            )
        by_group = [by_name[name] for name in sorted(by_name) if not self.groups or name in self.groups]
        if most:
            share = -(-most // len(by_group))
            by_group = [[group[i * len(group) // share] for i in range(min(share, len(group)))] for group in by_group]
        mixed = [item for turn in zip_longest(*by_group) for item in turn if item is not None]
        return mixed[:most] if most else mixed
