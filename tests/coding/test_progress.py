import io
import re
import sys

import pytest

from vqkit.coding.progress import ProgressLine, rate_and_rest
from vqkit.coding.workers import Board


def test_the_words():
    assert rate_and_rest(60, 600, 0.01) == "10.0× real time, 1:39:00 left"
    assert rate_and_rest(1, 3, 1.0) == "3.0× real time, 0:00 left"


def test_a_line_on_a_terminal(monkeypatch):
    pytest.importorskip("rich")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("vqkit.coding.progress._PATIENCE_SECONDS", 0)
    monkeypatch.setenv("TERM", "xterm")
    board, out = Board(2), io.StringIO()
    with ProgressLine(board, [300, 100], shown=True) as line:
        board.note(0, 6.0, 0.5)
        line.show()
        line.print("a line", out)
        board.note(1, 2.0, 1.0)
        line.show()
    assert out.getvalue() == "a line\n"
    assert "62 %" in terminal.getvalue()
    assert "× real time" in terminal.getvalue()


def test_a_plain_line_now_and_then_elsewhere(capsys, monkeypatch):
    monkeypatch.setattr("vqkit.coding.progress._LINE_SECONDS", 0)
    board = Board(1)
    with ProgressLine(board, [1], shown=True) as line:
        board.note(0, 30.0, 0.25)
        line.show()
        monkeypatch.setattr("vqkit.coding.progress._LINE_SECONDS", 1000)
        line.show()
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"vqkit: 25%, [\d.]+× real time, \d+:\d\d left\n", err)


def test_nothing_elsewhere(capsys):
    with ProgressLine(Board(1), [1], shown=False) as line:
        line.show()
        line.print("a line", sys.stdout)
    assert capsys.readouterr() == ("a line\n", "")
