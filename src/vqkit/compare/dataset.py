"""Which clips or images a comparison trains on and is measured on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

from vqkit.data import Clip, ImageItem, list_clips, list_images, read_audio, sample_folder
from vqkit.data.unreadable import readable

__all__ = ["Dataset", "Item"]

Item = Clip | ImageItem
_Item = TypeVar("_Item", Clip, ImageItem)


@dataclass(frozen=True)
class Dataset:
    """The clips or images of a comparison.

    Args:
        source: a folder (with or without manifest.csv), a manifest, for images also what else `vqkit.data.list_images` takes, or
            ``"samples"`` for what ships with vqkit.
        test_source: where the test items come from, if they are of another data set.
        groups: only these groups of sound (``music``, ``speech``, …), or these classes of images; all when empty.
        min_seconds: shorter clips are left out.
        max_train: most training items, spread evenly over the set; 0 takes all.
        max_test: most test items, likewise.
        split: which split is measured: ``test``, or ``valid`` while choosing settings.
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
        source = sample_folder() if place == "samples" else place
        found = [clip for clip in list_clips(source, split=split) if clip.seconds >= self.min_seconds]
        if not found:
            raise ValueError(f"no {split} clips of at least {self.min_seconds:g} s in {place}")
        chosen = self._spread(found, lambda clip: clip.group, most, f"the {split} split of {place}")
        if training:  # crops of what cannot be read are replaced as they are drawn
            return chosen
        return [clip for clip, _ in readable(chosen, lambda clip: clip.path, lambda clip: read_audio(clip.path))]

    def images(self, training: bool) -> list[ImageItem]:
        """Images to train on, or to measure on, classes in turn."""
        place, split, most = self._wanted(training)
        source = sample_folder() if place == "samples" else place
        return self._spread(list_images(source, split), lambda i: i.label, most, f"the {split} split of {place}")

    def _wanted(self, training: bool) -> tuple[str, str, int]:
        if training:
            return self.source, "train", self.max_train
        return self.test_source or self.source, self.split, self.max_test

    def _spread(self, found: Sequence[_Item], group_of: Callable[[_Item], str], most: int, where: str) -> list[_Item]:
        by_name: dict[str, list[_Item]] = {}
        for item in found:
            by_name.setdefault(group_of(item), []).append(item)
        unknown = set(self.groups) - set(by_name)
        if unknown:
            raise ValueError(f"groups names {', '.join(sorted(unknown))}; {where} has {', '.join(sorted(by_name))}")
        by_group = [by_name[name] for name in sorted(by_name) if not self.groups or name in self.groups]
        if most:
            share = -(-most // len(by_group))
            by_group = [[group[i * len(group) // share] for i in range(min(share, len(group)))] for group in by_group]
        mixed = [item for turn in zip_longest(*by_group) for item in turn if item is not None]
        return mixed[:most] if most else mixed
