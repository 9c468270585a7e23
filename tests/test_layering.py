"""Imports point one way: types, files, ranks ← the library ← models ← training … ← compare ← cli; the core needs only torch and numpy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "vqkit"
LAYERS = [
    {"counts"},
    {
        "types",
        "moved",
        "modality",
        "stages",
        "files",
        "ranks",
        "constants",
        "erb_bands",
        "terminal",
        "allowance",
        "processes",
        "code_digest",
        "differences",
        "progress",
        "scale",
        "device",
    },
    {"saved", "recipe", "cache", "sources"},
    {"quantize"},
    {"nn", "data", "losses", "metrics", "bitstream"},
    {"models"},
    {"diagnosis"},
    {"training", "generate", "report", "coding"},
    {"evaluate"},
    {"compare", "serve", "tokenize", "pretraining"},
    {"cli"},
    {"completion", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of vqkit that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "vqkit" else {node.module}
            )
    parts = [name.split(".") for name in names]
    rooms = {part[1] for part in parts if part[0] == "vqkit" and len(part) > 1}
    # names taken from the package itself (`from vqkit import RVQ`) come from the quantizers
    return {name if name in LEVEL else "quantize" for name in rooms}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_one_way(path):
    own = room(path)
    if own == "__init__":
        assert imported_rooms(path) <= {"types", "quantize", "diagnosis"}
        return
    assert own in LEVEL, f"{path}: a room that no layer names"
    for other in imported_rooms(path) - {own}:
        assert LEVEL[other] < LEVEL[own], f"{path.relative_to(SOURCE)} ({own}) must not import vqkit.{other}"


def imported_modules() -> dict[str, set[str]]:
    """Modules of vqkit → those that they import, anywhere in them, also for annotations only."""
    names = {".".join(("vqkit", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in FILES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= full & names.keys() or {str(node.module)}
        graph[name] = (found & names.keys()) - {name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of more than one node, each of which leads to all the others (strongly connected components)."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen, waiting = set(), [start]
        while waiting:
            for other in graph[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        reached[start] = seen
    groups = {frozenset({b for b in reached[a] if a in reached[b]}) for a in graph if a in reached[a]}
    return [set(group) for group in groups]


def test_what_a_circle_is():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set()}
    assert circles(graph) == [{"a", "b", "c"}]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_imports_what_imports_it():
    assert circles(imported_modules()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_one_idea_a_file(path):
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= 260, f"{path}: {len(lines)} lines: two ideas?"


def test_the_core_imports_only_torch_and_numpy():
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"safetensors", "huggingface_hub", "transformers", "lightning", "torchmetrics", "soundfile",
                                      "av", "jaxtyping", "scipy", "matplotlib", "rich", "yaml", "jsonargparse", "constriction"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
import torch, vqkit
q = vqkit.IVQ(dim=12)
q(torch.randn(1, 3, 12))
try:
    q.save_pretrained("/nonexistent")
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "safetensors is not installed: pip install 'vqkit[train]'"
