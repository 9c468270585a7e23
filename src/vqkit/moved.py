"""Old names of modules: what configs and programs of before name is still found, at its new place."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["keep_old_names"]


def keep_old_names(package: str, moved: Mapping[str, str]) -> None:
    """Let old names of modules lead to the modules themselves: ``old is new``, not a copy.

    Args:
        package: full name of the package in which the old names stood; it is imported before any of them.
        moved: old name within the package → new full name. A package's name stands for the modules in it too.
    """
    names = {f"{package}.{old}": new for old, new in moved.items()}
    # First: below the old name of a package the ordinary finders would load its modules once more, under that name.
    sys.meta_path.insert(0, _Finder(names))


class _Finder(MetaPathFinder):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec whose loader gives the module at its new place; None for names that have not moved."""
        old, rest = fullname, ""
        while old not in self._names:
            old, dot, last = old.rpartition(".")
            if not dot:
                return None
            rest = f".{last}{rest}"
        return ModuleSpec(fullname, _Alias(self._names[old] + rest))


class _Alias(Loader):
    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module at its new place."""
        module = import_module(self._name)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back its own spec, which importlib has just overwritten by the alias's; it has run already."""
        module.__spec__ = self._own_spec
