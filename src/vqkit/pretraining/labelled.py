"""Labelled signals: what has a label, which classes there are, and which items are for training, choosing and testing.

Conventions
    A label may name several classes, ``dog;rain``. Splits are train, valid and test; what a data set lacks of them is dealt out by hash of
    the items' names, class by class, so that an item stays where it is when others come and go.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vqkit.data import list_items, sample_folder
from vqkit.data.folders import class_of
from vqkit.modality import modality_named
from vqkit.types import Float

__all__ = ["Labelled", "list_labelled"]

_SHARES = {"test": 0.2, "valid": 0.2}
_SHOWN = 5


@dataclass(frozen=True)
class Labelled:
    """A labelled data set.

    Attributes:
        modality: modality of the items.
        items: `Clip`, `ImageItem` or `VideoItem`.
        names: names of the items.
        classes: sorted.
        targets: 1 where an item is of a class.
        splits: "train", "valid" or "test" of each item.
        folds: number of the item's fold; empty without cross-validation.
        multiple: whether an item may be of several classes.
        notes: what was left out or dealt out, one sentence each.
    """

    modality: str
    items: tuple[Any, ...]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    targets: Float[Tensor, "items classes"]
    splits: tuple[str, ...]
    folds: tuple[int, ...]
    multiple: bool
    notes: tuple[str, ...]

    def places(self, split: str) -> list[int]:
        """Indices of the items of a split."""
        return [index for index, own in enumerate(self.splits) if own == split]


def list_labelled(
    source: str | Path,
    modality: Literal["audio", "image", "video"],
    *,
    label: str = "label",
    where: str | None = None,
    folds: int = 0,
) -> Labelled:
    """List what has a label.

    Args:
        source: a folder with a manifest or with a folder for each class, a manifest, or for images a file of many; as `list_clips`,
            `list_images` and `list_videos` take it. ``"samples"`` are the files that ship with vqkit.
        modality: modality of the files to use.
        label: column of the manifest; classes are separated by ``;``.
        where: use the items with this value in a column of the manifest only, such as ``"subset=notes"``.
        folds: number of folds for cross-validation; the manifest's column ``fold`` says which fold an item is of, or the hash of its name.

    Returns:
        The data set. Items without a label, and classes of a single item or without one to train on, are left out with a warning.

    Raises:
        ValueError: no item has a label or passes ``where``, fewer than two classes are left, or fewer than 2 folds or
            more than items.
    """
    if folds == 1 or folds < 0:
        raise ValueError(f"folds must be 0 or at least 2, got {folds}")
    found = _items(sample_folder() if source == "samples" else Path(source), modality, label, where)
    notes: list[str] = []
    labels = [sorted({word.strip() for word in text.split(";")} - {""}) for _, text in found]
    bare = [item.name for (item, _), own in zip(found, labels, strict=True) if not own]
    if len(bare) == len(found):
        columns = sorted({name for item, _ in found for name in getattr(item, "labels", {})})
        there = f"; the manifest has {', '.join(columns)}" if columns else ""
        raise ValueError(f"{source}: none of the {len(found)} items has a {label}{there}")
    if bare:
        notes.append(f"left out {_few(bare, 'item')} without a {label}")
    counts = Counter(word for own in labels for word in own)
    single = sorted(word for word, count in counts.items() if count < 2)
    if single:
        notes.append(f"left out {_few(single, 'class')} with a single item: it cannot be both learned and tested")
    labels = [[word for word in own if counts[word] > 1] for own in labels]
    classes = sorted(counts.keys() - set(single))
    if len(classes) < 2:
        raise ValueError(f"{source}: {len(classes)} classes have two items or more, at least 2 are needed")
    kept = [(item, own) for (item, _), own in zip(found, labels, strict=True) if own]
    targets = torch.zeros(len(kept), len(classes))
    for row, (_, own) in enumerate(kept):
        targets[row, [classes.index(word) for word in own]] = 1
    items = tuple(item for item, _ in kept)
    first = [own[0] for _, own in kept]
    numbers: list[int] = []
    splits: tuple[str, ...]
    if folds:
        numbers, splits = _folds(items, first, folds), ("train",) * len(items)
    else:
        dealt = [item.split for item in items]
        notes += _deal(items, first, dealt)
        splits = tuple(dealt)
        train = torch.tensor([split == "train" for split in splits])
        unlearned = (targets[train].sum(0) == 0).tolist()
        if any(unlearned):
            gone = [name for name, missing in zip(classes, unlearned, strict=True) if missing]
            notes.append(f"left out {_few(gone, 'class')} without an item to train on")
            targets = targets[:, [not missing for missing in unlearned]]
            classes = [name for name in classes if name not in gone]
            own = (targets.sum(1) > 0).tolist()
            items, splits = tuple(compress(items, own)), tuple(compress(splits, own))
            targets = targets[torch.tensor(own)]
    for note in notes:
        warnings.warn(f"{source}: {note}", stacklevel=2)
    multiple = bool((targets.sum(1) > 1).any())
    names = tuple(item.name for item in items)
    return Labelled(modality, items, names, tuple(classes), targets, splits, tuple(numbers), multiple, tuple(notes))


def _items(source: Path, modality: str, label: str, where: str | None) -> list[tuple[Any, str]]:
    """Items with the text of their label."""
    items: Sequence[Any] = list_items(source, modality_named(modality))
    if where is not None:
        column, equals, value = where.partition("=")
        if not equals:
            raise ValueError(f"where must be column=value, got {where!r}")
        kept = [item for item in items if _column(item, column) == value]
        if not kept:
            there = ", ".join(sorted({_column(item, column) for item in items} - {""})[:10])
            raise ValueError(f"{source} has no {modality} of {column} {value!r}; there is {there or 'no such column'}")
        items = kept
    return [(item, _column(item, label) or _folder_label(item, label)) for item in items]


def _column(item: Any, column: str) -> str:
    """Return an item's value in a column of the manifest; "" where it has none."""
    group = str(getattr(item, "group", ""))
    found: str = getattr(item, "labels", {}).get(column, "")
    return group if column == "group" and group else found


def _folder_label(item: Any, label: str) -> str:
    """The label that an item has without a manifest: its folder's name, or that of a file of many."""
    if getattr(item, "labels", None) or label != "label":
        return ""
    own = getattr(item, "label", None)
    return class_of(item.name) if own is None else str(own)


def _few(names: Sequence[str], what: str) -> str:
    plural = {"item": "items", "class": "classes"}[what] if len(names) > 1 else what
    return f"{len(names)} {plural} ({', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''})"


def _rank(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _by_class(items: Sequence[Any], labels: Sequence[str], places: Sequence[int]) -> list[list[int]]:
    """Places of each class in the order of the hashes of their names."""
    classes: dict[str, list[int]] = {}
    for place in places:
        classes.setdefault(labels[place], []).append(place)
    return [sorted(own, key=lambda place: _rank(items[place].name)) for _, own in sorted(classes.items())]


def _folds(items: Sequence[Any], labels: Sequence[str], folds: int) -> list[int]:
    given = [getattr(item, "labels", {}).get("fold", "") for item in items]
    if all(given):
        words = sorted(set(given))
        if len(words) != folds:
            raise ValueError(f"the manifest has {len(words)} folds ({', '.join(words[:8])}), not {folds}")
        return [words.index(word) for word in given]
    if folds > len(items):
        raise ValueError(f"folds must be at most the number of items, {len(items)}, got {folds}")
    numbers, turn = [0] * len(items), 0
    for own in _by_class(items, labels, range(len(items))):
        for place in own:
            numbers[place] = turn % folds
            turn += 1
    return numbers


def _deal(items: Sequence[Any], labels: Sequence[str], splits: list[str]) -> list[str]:
    """Fill the splits that are missing; returns what was done."""
    notes = []
    known = {"train", "valid", "test"}
    unknown = [place for place, split in enumerate(splits) if split not in known]
    for place in unknown:
        splits[place] = "train"
    for split, share in _SHARES.items():
        if split in splits:
            continue
        moved = 0
        for own in _by_class(items, labels, [place for place, other in enumerate(splits) if other == "train"]):
            # a class of two keeps one to learn from
            count = min(len(own) - 1, max(split == "test", round(share * len(own))))
            for place in own[:count]:
                splits[place] = split
            moved += count
        notes.append(f"there is no {split} split: {moved} items of train were taken for it, by hash of their names")
    return notes
