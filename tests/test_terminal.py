import io
import sys
import warnings

import pytest

from vqkit.terminal import printable, steady_streams


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Grüße, 日本語, →, 🎵.wav", "plain, Grüße, 日本語, →, 🎵.wav"),
        ("C:\\new", "C:\\new"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("one\ntwo\r\tthree\x00\x7f\x9b31m", r"one\ntwo\r\tthree\x00\x7f\x9b31m"),
        ("a\u2028b\u2029c\x85d\x0be", r"a\u2028b\u2029c\x85d\x0be"),  # what str.splitlines takes for the end of a line
        ("\u202egnp.exe\u2066\u200f\ufeff", r"\u202egnp.exe\u2066\u200f\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        (b"caf\xe9.wav".decode(errors="surrogateescape"), r"caf\xe9.wav"),
        ("\ud800", r"\ud800"),
        ("Screenshot 10.00\u202fAM\xa0\u3000.png", "Screenshot 10.00\u202fAM\xa0\u3000.png"),
        ("👩\u200d🚀 می\u200cخواهم", "👩\u200d🚀 می\u200cخواهم"),
        (ValueError("a\x1bb"), r"a\x1bb"),
    ],
)
def test_nothing_steers_the_terminal(text, shown):
    assert printable(text) == shown
    printable(text).encode()  # no half characters
    assert len(printable(text).splitlines()) == 1


def test_every_control_character_is_escaped():
    for number in [*range(32), *range(127, 160)]:
        assert printable(chr(number)).isascii()
        assert printable(chr(number)).startswith("\\")


def test_an_encoding_that_lacks_characters(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", out)
    with steady_streams():
        print("→ é \udce9")
    assert out.buffer.getvalue() == b"\\u2192 \xe9 \\udce9\n"
    assert out.errors == "strict"
    with pytest.raises(UnicodeEncodeError):
        print("→")


def test_a_stream_that_cannot_be_changed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with steady_streams():
        print("→")
    assert sys.stdout.getvalue() == "→\n"


def test_errors_do_not_turn_to_standard_output(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    with steady_streams():
        print("error", file=sys.stderr)
    assert sys.stderr is None
    assert capsys.readouterr().out == ""


def test_warnings_are_a_line():
    usual = warnings.formatwarning
    with steady_streams():
        shown = warnings.formatwarning(UserWarning("skipped a\x1b\n.wav"), UserWarning, "x.py", 3)
        assert shown == "vqkit: warning: skipped a\\x1b\\n.wav\n"
        assert "x.py:3: SyntaxWarning: of Python" in warnings.formatwarning("of Python", SyntaxWarning, "x.py", 3)
    assert warnings.formatwarning is usual
