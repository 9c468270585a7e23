"""Handling of unreadable items of a data set: they are left out and named, the same way wherever clips are listed or read."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

__all__ = ["READ_ERRORS", "named", "readable"]

READ_ERRORS = (OSError, ValueError)  # of a file that cannot be read, whatever is in it
_SHOWN = 5  # files named in a message

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


def named(reasons: Mapping[str, str], total: int) -> str:
    """Describe unreadable clips: their number among all, and the first of them by name, each with its reason.

    Example:
        >>> named({"a.wav": "it is empty"}, total=3)
        '1 of 3 clips: a.wav (it is empty)'
    """
    shown = [f"{path} ({reason.removeprefix(f'{path} ')})" for path, reason in list(reasons.items())[:_SHOWN]]
    return f"{len(reasons)} of {total} clips: {'; '.join(shown)}{'; …' if len(reasons) > _SHOWN else ''}"


def readable(
    items: Iterable[_Item], path_of: Callable[[_Item], object], read: Callable[[_Item], _Read]
) -> Iterator[tuple[_Item, _Read]]:
    """Read one item after the other; one that cannot be read is named in a warning and left out.

    Args:
        items: items to read.
        path_of: returns the path of an item, for the warning.
        read: reads an item.

    Yields:
        The items that could be read, each with what was read.

    Raises:
        ValueError: there were items, and none could be read.

    Example:
        >>> [text for _, text in readable(["5", "7"], str, int)]
        [5, 7]
    """
    count, reasons = 0, {}
    for item in items:
        count += 1
        path = str(path_of(item))
        try:
            found = read(item)
        except READ_ERRORS as error:
            reasons[path] = str(error)
            warnings.warn(f"skipped {path}: {str(error).removeprefix(f'{path} ')}", stacklevel=2)
            continue
        yield item, found
    if reasons and len(reasons) == count:
        raise ValueError(f"no clip can be used, skipped {named(reasons, count)}")
