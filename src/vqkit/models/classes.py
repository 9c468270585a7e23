"""Classes of saved models by the names that their configs have: those that are imported, and vqkit's own, found in its source.

A config may come from a stranger, so its word decides nothing but which of vqkit's own modules is imported: a name leads to a module only
where a file of `vqkit.models` defines a class of that name below the base that is asked for. Of the others none is imported, as some need
packages that take seconds.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from vqkit import modality as modalities
from vqkit.modality import Modality
from vqkit.types import need

__all__ = ["class_named", "known_names", "modality_of_class"]

_ROOM = Path(__file__).parent
_CLASS = re.compile(
    r"^class (?P<name>[A-Za-z]\w*)(?:\((?P<bases>(?:[^()]|\([^()]*\))*)\))?:$(?P<body>(?:\n(?:[ \t].*)?)*)",
    re.MULTILINE,
)
_MODALITY = re.compile(r"^    modality = (\w+)$", re.MULTILINE)

_Base = TypeVar("_Base")


@dataclass(frozen=True)
class _Written:
    """Class as written in the source, without importing it."""

    module: str
    bases: tuple[str, ...]
    modality: str | None


def class_named(name: str, base: type[_Base]) -> type[_Base] | None:
    """Find the subclass of a base by its name: an imported one, of any package, or else vqkit's own; None if there is none.

    Args:
        name: name of the class, without its module.
        base: a class of vqkit.

    Raises:
        ImportError: a package is missing that the class needs.

    Example:
        >>> from vqkit.models.tokenizer import Tokenizer
        >>> class_named("FrameCodec", Tokenizer).__module__, class_named("Popen", Tokenizer)
        ('vqkit.models.audio.frames', None)
    """
    for found in _imported(base):
        if found.__name__ == name:
            return found
    if name not in _below(base.__name__):
        return None
    own: type[_Base] = getattr(need(_written()[name].module, "all"), name)
    return own if issubclass(own, base) else None


def known_names(base: type[Any]) -> list[str]:
    """Return the names of a base's subclasses, imported or vqkit's own, that have no subclasses themselves."""
    imported = {found.__name__ for found in _imported(base) if not found.__subclasses__()}
    return sorted(imported | {name for name in _below(base.__name__) if not _below(name)})


def modality_of_class(name: str) -> Modality | None:
    """Return the modality of one of vqkit's model classes by the class's name, without importing it; None for other names.

    Example:
        >>> modality_of_class("ImageTokenizer").plural, modality_of_class("SpectralCodec").plural
        ('images', 'sound')
    """
    known = _written()
    while name in known:
        if known[name].modality is not None:
            found = getattr(modalities, str(known[name].modality), None)
            return found if isinstance(found, Modality) else None
        name = known[name].bases[0] if known[name].bases else ""
    return None


def _imported(base: type[_Base]) -> list[type[_Base]]:
    return [found for child in base.__subclasses__() for found in (child, *_imported(child))]


@cache
def _below(base: str) -> frozenset[str]:
    children = {name for name, written in _written().items() if base in written.bases}
    return frozenset(children).union(*(_below(child) for child in children))


@cache
def _written() -> dict[str, _Written]:
    """Public classes of `vqkit.models`, by name."""
    found: dict[str, _Written] = {}
    for path in sorted(_ROOM.rglob("*.py")):
        module = ".".join(("vqkit.models", *path.relative_to(_ROOM).with_suffix("").parts))
        for match in _CLASS.finditer(path.read_text(encoding="utf-8")):
            bases = re.findall(r"\w+", re.split(r"\w+=", match["bases"] or "")[0])
            what = _MODALITY.search(match["body"])
            found[match["name"]] = _Written(module, tuple(bases), what and what[1])
    return found
