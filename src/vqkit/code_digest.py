"""Digest of the code that decides a result: a module and all that it imports of vqkit, found in the source, never listed by hand."""

import ast
import hashlib
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import vqkit

__all__ = ["code_digest", "commit", "deciding_files"]

_ROOT = Path(vqkit.__file__).parent


def code_digest(*parts: Any) -> str:
    """Digest of the code that some classes and functions of vqkit consist of; a change in it makes other runs.

    Args:
        parts: classes or functions, or names of modules.

    Returns:
        A short digest; the same as long as this process lives, since what runs is what was loaded.
    """
    return _digest(tuple(sorted({part if isinstance(part, str) else part.__module__ for part in parts})))


def deciding_files(*modules: str) -> set[Path]:
    """Source files of modules and of all that they import of vqkit, anywhere in them, and the data files that their text names.

    A name that a package passes on from one of its modules leads to that module alone: what else the package has does not matter.

    Example:
        >>> sorted(file.name for file in deciding_files("vqkit.quantize.search"))
        ['search.py', 'types.py']
    """
    found: set[Path] = set()
    waiting = list(modules)
    while waiting:
        file = _file(waiting.pop())
        if file is None or file in found:
            continue
        found.add(file)
        tree = _tree(file)
        found |= set(_named_data(file, tree))
        waiting += _imports(tree)
    return found


def commit() -> str | None:
    """Commit of the checkout that runs, marked when it has changes; None when vqkit is installed from a package."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if "vqkit" not in git("ls-files", "--full-name", "__init__.py"):
            return None
        return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def _digest(modules: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for file in sorted(deciding_files(*modules)):
        digest.update(str(file.relative_to(_ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _file(module: str) -> Path | None:
    """The source of a module of vqkit; None for other packages and for what is no module."""
    first, *rest = module.split(".")
    if first != "vqkit":
        return None
    path = _ROOT.joinpath(*rest)
    for file in (path.with_suffix(".py") if rest else path, path / "__init__.py"):
        if file.is_file():
            return file
    return None


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (_home(node.module, alias.name) for alias in node.names)


def _home(module: str, name: str) -> str:
    """The module that ``from module import name`` is about."""
    if _file(f"{module}.{name}") is not None:
        return f"{module}.{name}"
    file = _file(module)
    if file is not None and file.name == "__init__.py":
        for node in ast.walk(_tree(file)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vqkit"):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _home(node.module, alias.name)
    return module


def _named_data(file: Path, tree: ast.Module) -> Iterator[Path]:
    """Files of the package, no Python, whose names stand in the text."""
    beside = {path.name: path for path in _data(file.parent)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in beside:
            yield beside[node.value]


@cache
def _data(folder: Path) -> tuple[Path, ...]:
    found = (path for part in (folder, folder / "weights") if part.is_dir() for path in part.iterdir())
    return tuple(path for path in found if path.is_file() and path.suffix not in (".py", ".pyc"))
