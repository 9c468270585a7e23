"""What no list of dependencies may bring in: packages without a build for the CPU torch that this project pins."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "torchvision", "torchaudio", "timm", "lpips", "torch-fidelity", "encodec", "descript-audio-codec", "torchcodec",
}  # fmt: skip


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(requirement: str) -> str:
    return canonical(re.match(r"[\w.-]+", requirement).group())


def declared() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"core": project["dependencies"], **project["optional-dependencies"]}


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line.strip() and not line.startswith("#")]
    return {canonical(name): version for name, version in pairs}


def test_core_is_torch_and_numpy():
    assert {required(r) for r in declared()["core"]} == {"torch", "numpy"}


@pytest.mark.parametrize("extra", declared())
def test_no_extra_names_a_forbidden_package(extra):
    assert not {required(r) for r in declared()[extra]} & FORBIDDEN
    assert not [r for r in declared()[extra] if re.search(r"torchmetrics\[(image|audio)", r)]


def test_no_installed_dependency_pulls_one():
    """Walk what the installed extras really require, all the way down."""
    todo = [
        required(r)
        for extra in ("core", "audio", "image", "train", "eval", "export", "perceptual", "serve")
        for r in declared()[extra]
    ]
    seen: dict[str, str] = {}
    while todo:
        name = todo.pop()
        if name in seen or name == "vqkit":
            continue
        try:
            seen[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        todo += [required(r) for r in metadata.requires(name) or [] if "extra ==" not in r]
    assert len(seen) > 20
    assert not set(seen) & FORBIDDEN
    assert not {canonical(d.metadata["Name"]) for d in metadata.distributions()} & FORBIDDEN


def test_the_lock_pins_everything_and_the_cpu_torch():
    lock = locked()
    assert lock["torch"] == "2.13.0"
    assert not set(lock) & FORBIDDEN
    ours = {
        required(r)
        for extra in ("core", "audio", "image", "train", "eval", "export", "perceptual", "serve", "dev")
        for r in declared()[extra]
    }
    assert ours - {"vqkit"} <= set(lock)
