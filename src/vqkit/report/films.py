"""Data of a comparison of videos, and its test clips to look at; read from JSON and checked."""

from dataclasses import dataclass
from typing import Any

from vqkit.report.node import Node
from vqkit.report.pictures import Picture

__all__ = ["VideoData", "parse_film", "parse_video_data"]


@dataclass(frozen=True)
class VideoData:
    """Training and test data of a comparison of videos; ``height`` and ``width`` in pixels, ``settings`` holds the further fields."""

    name: str
    train_videos: int
    test_videos: int
    frames: int
    height: int
    width: int
    settings: dict[str, Any]

    @property
    def description(self) -> str:
        """The data in words."""
        return f"{self.name}, clips of {self.frames} frames of {self.width}×{self.height} pixels"

    @property
    def trained_on(self) -> str:
        """Amount of training data, in words."""
        return _amount(self.train_videos)

    @property
    def tested_on(self) -> str:
        """Amount of test data, in words."""
        return _amount(self.test_videos)


def parse_video_data(node: Node) -> VideoData:
    """Read ``data`` of a comparison of videos.

    Raises:
        ValueError: a field is missing or not what it must be; the message names it.
    """
    videos, size = node.get("videos"), node.get("size")
    sizes = size.items()
    if len(sizes) != 3:
        raise size.error("three numbers [frames, height, width]")
    return VideoData(
        name=node.get("name").text(),
        train_videos=videos.get("train").integer(),
        test_videos=videos.get("test").integer(),
        frames=sizes[0].integer(least=1),
        height=sizes[1].integer(least=1),
        width=sizes[2].integer(least=1),
        settings=node.further("name", "videos", "size"),
    )


def parse_film(node: Node) -> Picture:
    """Read one element of ``videos``: a picture whose frames stand side by side.

    Raises:
        ValueError: a field is missing or not what it must be; the message names it.
    """
    frames = node.get("frames").integer(least=1)
    return Picture(
        name=node.get("name").text(),
        group=node.get("group").text(),
        width=frames * node.get("width").integer(least=1),
        height=node.get("height").integer(least=1),
        original=node.get("original").inner_path(),
        frames=frames,
        frame_rate=node.get("frame_rate").number(least=0.001),
    )


def _amount(videos: int) -> str:
    return f"{videos:,} video{'' if videos == 1 else 's'}"
