"""Text for a terminal: what comes from a file cannot steer it, and what it cannot show does not end a command."""

import os
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["duration", "printable", "steady_streams"]

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_JOINERS = "\u200c\u200d"  # invisible, but part of words and of emoji


def printable(text: object) -> str:
    r"""Make a text safe for a terminal: one line, in which nothing controls the terminal or reverses the order of what it shows.

    Use it wherever a name, a message or metadata that vqkit did not write itself is printed.

    Args:
        text: anything; ``str`` of it is taken.

    Returns:
        The text with control characters, line breaks, marks of direction and bytes that are no characters escaped as Python does.

    Example:
        >>> print(printable("a\x1b[2J\nb"), printable("caf\udce9 é"), printable("\u202e3pm.wav"))
        a\x1b[2J\nb caf\xe9 é \u202e3pm.wav
    """
    text = str(text)
    return text if text.isprintable() else "".join(map(_shown, text))


def duration(seconds: float) -> str:
    """Hours, minutes and seconds.

    Example:
        >>> duration(7), duration(65), duration(3725)
        ('0:07', '1:05', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}:{minutes:02}' if hours else minutes}:{rest:02}"


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file's name that is no character
        return f"\\x{number - 0xDC00:02x}"
    long = f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
    return _NAMED.get(character) or (f"\\x{number:02x}" if number <= 0xFF else long)


@contextmanager
def steady_streams() -> Iterator[None]:
    """Standard streams that a command can rely on, whatever it was started with.

    A character that the output's encoding lacks is escaped. Where a stream is closed its number is taken, so that no file that is opened
    later receives what was meant for it; ``sys.stdin`` and ``sys.stdout`` are then None, and ``sys.stderr`` goes nowhere. Warnings are
    one line without the place in the source.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    before, formatting = sys.stderr, warnings.formatwarning
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # print would turn to standard output
    streams: list[Any] = [sys.stdout, sys.stderr]
    changed = [(stream, errors) for stream in streams if (errors := _escaping(stream)) is not None]
    warnings.formatwarning = _one_line
    try:
        yield
    finally:
        warnings.formatwarning = formatting
        for stream, errors in changed:
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=errors)
        if sys.stderr is not before and before is None:
            sys.stderr.close()
            sys.stderr = before


def _escaping(stream: Any) -> str | None:
    """Let a stream escape what its encoding lacks; returns what it did before, None where it cannot be changed."""
    errors = getattr(stream, "errors", None)
    if errors is None or not hasattr(stream, "reconfigure"):
        return None
    with suppress(OSError, ValueError):
        stream.reconfigure(errors="backslashreplace")
        return str(errors)
    return None


_usual_format = warnings.formatwarning


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    if issubclass(category, UserWarning):
        return f"vqkit: warning: {printable(message)}\n"
    return _usual_format(message, category, filename, lineno, line)
