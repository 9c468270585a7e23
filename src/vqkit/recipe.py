"""The YAML files of ``--config``: read with bounds before they are believed.

A recipe is code. Wherever it says ``class_path`` it names a Python module, which is imported, so whoever runs a recipe runs what its author
chose. What can be kept from it is only that a file which is no recipe, because it is huge, deep or unfolds into billions of items,
takes the machine down before anything is said.
"""

from collections.abc import Sequence
from pathlib import Path

from vqkit.types import need

__all__ = ["check_recipes"]

_MAX_BYTES = 1 << 18  # the recipes here have some 3,000
_MAX_DEPTH = 64
_MAX_ITEMS = 100_000  # with every alias written out


def check_recipes(words: Sequence[str]) -> None:
    """See that the files which a command line names with ``--config`` are of the size of something that a person writes.

    Args:
        words: words of the command line. Files that do not exist and other words are left to the parser.

    Raises:
        ValueError: a file is too long, too deep, unfolds into too many items or is no YAML.
    """
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == "--config":
            path = Path(value if equals else words[i + 1] if i + 1 < len(words) else "")
            if path.is_file():
                _check(path)


def _check(path: Path) -> None:
    yaml = need("yaml", "train")
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"{path} is too long for a recipe: more than {_MAX_BYTES} bytes")
    depth = items = 0
    sizes: dict[str, int] = {}  # of what has an anchor
    opened: list[tuple[str | None, int]] = []
    try:
        for event in yaml.parse(content, Loader=yaml.SafeLoader):  # events: nothing is built and nothing unfolds
            anchor: str | None = getattr(event, "anchor", None)
            if isinstance(event, yaml.AliasEvent):
                items += sizes.get(str(anchor), 0)  # unknown, or within itself: the parser refuses those
            elif isinstance(event, yaml.CollectionStartEvent):
                opened.append((anchor, items))
                items += 1
                depth = max(depth, len(opened))
            elif isinstance(event, yaml.CollectionEndEvent):
                name, before = opened.pop()
                if name is not None:
                    sizes[name] = items - before
            elif isinstance(event, yaml.ScalarEvent):
                items += 1
            if depth > _MAX_DEPTH:
                raise ValueError(f"{path} has more than {_MAX_DEPTH} lists and mappings within each other")
            if items > _MAX_ITEMS:
                raise ValueError(f"{path} unfolds into more than {_MAX_ITEMS} items")
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
