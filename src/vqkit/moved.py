"""Old names of modules: what configs and programs of before name is still found, at its new place."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["keep_old_names"]


def keep_old_names(package: str, moved: Mapping[str, str]) -> None:
    """Let old names of a package's modules lead to the modules themselves: ``old is new``, not a copy.

    Args:
        package: full name of the package.
        moved: old name → new name, both within the package.
    """
    names = {f"{package}.{old}": f"{package}.{new}" for old, new in moved.items()}
    sys.meta_path.append(_Finder(names))  # last: a module that exists is found before


class _Finder(MetaPathFinder):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec whose loader gives the module at its new place; None for other names."""
        if fullname not in self._names:
            return None
        return ModuleSpec(fullname, _Alias(self._names[fullname]))


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
