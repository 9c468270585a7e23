"""The page of what was generated holds its files, escapes its words, and needs nothing else."""

import json
from base64 import b64encode

import pytest
import torch

from vqkit.data import write_image
from vqkit.report.gallery import Exhibit, Gallery, Table, write_gallery


def test_everything_is_inside_and_escaped(tmp_path):
    write_image(tmp_path / "grid.png", torch.rand(3, 4, 4))
    (tmp_path / "music.mp4").write_bytes(b"video")
    table = Table("Results", ("system", "FD"), (("<b>VQ</b>", "1.5"), ("a|b", "2")), "Lower is better.")
    exhibits = [Exhibit("A grid", "grid.png", "Look."), Exhibit("A film", "music.mp4")]
    page = write_gallery(
        tmp_path, Gallery("T & T", "It <works>.", "python x.py --seed 0", [table], exhibits)
    ).read_text()
    assert b64encode((tmp_path / "grid.png").read_bytes()).decode() in page
    assert f'<video controls preload="metadata" src="data:video/mp4;base64,{b64encode(b"video").decode()}">' in page
    assert "&lt;b&gt;VQ" in page
    assert "<b>VQ" not in page
    assert "It &lt;works&gt;." in page
    assert "http" not in page.replace("http-equiv", "")
    text = (tmp_path / "report.md").read_text()
    assert "![A grid](grid.png)" in text
    assert "| a/b | 2 |" in text
    assert json.loads((tmp_path / "gallery.json").read_text())["tables"][0]["rows"][0][1] == "1.5"


def test_rows_and_files_are_checked(tmp_path):
    with pytest.raises(ValueError, match="has 2 columns and a row of 1"):
        Table("T", ("a", "b"), (("1",),))
    with pytest.raises(ValueError, match="allowed suffixes are .png"):
        write_gallery(tmp_path, Gallery("T", "", "", exhibits=[Exhibit("x", "x.exe")]))
    with pytest.raises(FileNotFoundError):
        write_gallery(tmp_path, Gallery("T", "", "", exhibits=[Exhibit("x", "x.png")]))
