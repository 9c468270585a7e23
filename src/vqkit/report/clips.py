"""Data of a comparison of sounds, and its test clips to listen to; read from JSON and checked."""

from dataclasses import dataclass
from typing import Any

from vqkit.report.node import Node

__all__ = ["AudioData", "Clip", "parse_audio_data", "parse_clip"]


@dataclass(frozen=True)
class AudioData:
    """Training and test data of a comparison of sounds; ``settings`` holds the further fields."""

    name: str
    train_seconds: float
    test_seconds: float
    train_clips: int
    test_clips: int
    settings: dict[str, Any]

    @property
    def description(self) -> str:
        """The data in words."""
        return self.name

    @property
    def trained_on(self) -> str:
        """Amount of training data, in words."""
        return _amount(self.train_seconds, self.train_clips)

    @property
    def tested_on(self) -> str:
        """Amount of test data, in words."""
        return _amount(self.test_seconds, self.test_clips)


@dataclass(frozen=True)
class Clip:
    """A test clip to listen to; ``sample_rate`` in Hz, ``original`` relative to the folder."""

    name: str
    group: str
    sample_rate: int
    seconds: float
    original: str


def parse_audio_data(node: Node) -> AudioData:
    """Read ``data`` of a comparison of sounds.

    Raises:
        ValueError: a field is missing or not what it must be; the message names it.
    """
    clips = node.get("clips")
    return AudioData(
        name=node.get("name").text(),
        train_seconds=node.get("train_seconds").number(least=0),
        test_seconds=node.get("test_seconds").number(least=0),
        train_clips=clips.get("train").integer(),
        test_clips=clips.get("test").integer(),
        settings=node.further("name", "train_seconds", "test_seconds", "clips"),
    )


def parse_clip(node: Node) -> Clip:
    """Read one element of ``clips``.

    Raises:
        ValueError: a field is missing or not what it must be; the message names it.
    """
    return Clip(
        name=node.get("name").text(),
        group=node.get("group").text(),
        sample_rate=node.get("sample_rate").integer(least=1),
        seconds=node.get("seconds").number(least=0),
        original=node.get("original").inner_path(),
    )


def _amount(seconds: float, clips: int) -> str:
    return f"{_duration(seconds)} ({clips} clip{'' if clips == 1 else 's'})"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
