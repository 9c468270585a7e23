from pathlib import Path

import pytest

from vqkit.code_digest import code_digest, deciding_files
from vqkit.compare import code_digest as module
from vqkit.compare.backbone import training_digest
from vqkit.compare.backbones import codec, conv, frames


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A small package in vqkit's place: a uses b through a room that also passes on c, and names a file of weights."""
    files = {
        "__init__.py": "",
        "a.py": "from vqkit.room import b\nfrom vqkit.late import f\n",
        "late.py": "def f():\n    import vqkit.deep\n",
        "deep.py": "WEIGHTS = 'w.safetensors'\n",
        "room/__init__.py": "from vqkit.room.inner import b\nfrom vqkit.room.other import c\n",
        "room/inner.py": "b = 1\n",
        "room/other.py": "c = 1\n",
        "weights/w.safetensors": "1",
        "weights/unused.safetensors": "1",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "_ROOT", tmp_path)

    def forget():
        for function in (module._tree, module._digest, module._data):
            function.cache_clear()

    forget()
    yield tmp_path, forget
    forget()


def test_imports_are_followed_through_rooms_and_functions_to_named_data(house):
    root, _ = house
    found = {str(file.relative_to(root)) for file in deciding_files("vqkit.a")}
    assert found == {"a.py", "late.py", "deep.py", "room/inner.py", "weights/w.safetensors"}


@pytest.mark.parametrize(
    ("edited", "counts"),
    [("room/inner.py", True), ("deep.py", True), ("weights/w.safetensors", True), ("room/other.py", False)],
)
def test_a_change_counts_where_it_decides(house, edited, counts):
    root, forget = house
    before = code_digest("vqkit.a")
    (root / edited).write_text((root / edited).read_text() + "\n# 'w.safetensors'\n")
    assert code_digest("vqkit.a") == before  # what was loaded runs: every row of a run has one key
    forget()
    assert (code_digest("vqkit.a") != before) is counts


def test_what_trains_the_backbones_is_found():
    names = {
        str(Path(*file.parts[file.parts.index("vqkit") :]))
        for file in deciding_files("vqkit.training.reconstruction.codec")
    }
    assert {
        "vqkit/losses/mel.py",
        "vqkit/training/phased_module.py",
        "vqkit/models/audio/padding.py",
        "vqkit/quantize/codebook.py",
    } <= names
    assert not any(name.startswith("vqkit/metrics") for name in names)
    digests = {training_digest(backbone) for backbone in (codec.Backbone(), conv.Backbone(), frames.Backbone())}
    assert len(digests) == 3
