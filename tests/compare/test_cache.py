import vqkit
from vqkit.compare.cache import source_digest


def test_a_file_edited_while_a_comparison_runs_gives_no_new_keys(tmp_path, monkeypatch):
    """What was loaded runs, so every row of a run has one key for its code; another process sees the edit."""
    monkeypatch.setattr(vqkit, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "one.py").write_text("a = 1\n")
    (tmp_path / "two.py").write_text("b = 1\n")
    rooms = ("room", "two.py")
    first = source_digest(rooms)
    assert source_digest(("room",)) != first
    (tmp_path / "room" / "one.py").write_text("a = 2\n")
    assert source_digest(rooms) == first
    source_digest.cache_clear()
    assert source_digest(rooms) != first
    source_digest.cache_clear()
