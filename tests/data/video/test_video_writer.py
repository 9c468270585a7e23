"""Written frames can be read again, at the rate and the size that was asked for."""

import numpy as np
import pytest
import torch

from vqkit.data.video import read_frames
from vqkit.data.video.writer import video_bytes, write_frames


def ramp(frames, height, width):
    """Frames whose brightness tells their number."""
    steps = torch.linspace(0.2, 0.8, frames)[None, :, None, None]
    return steps.expand(3, frames, height, width)


def test_frames_come_back_in_order(tmp_path):
    video = ramp(6, 16, 24)
    (tmp_path / "a.mp4").write_bytes(video_bytes(video, 8.0))
    back = read_frames(tmp_path / "a.mp4", 6)
    assert back.shape == (3, 6, 16, 24)
    assert (back - video).abs().max() < 0.03


def test_small_clips_are_enlarged_by_a_whole_factor_and_odd_sides_cut(tmp_path):
    (tmp_path / "a.mp4").write_bytes(video_bytes(ramp(2, 15, 21)[:1], 4.0, least_side=60))
    assert read_frames(tmp_path / "a.mp4", 2).shape == (3, 2, 44, 62)  # 3 × 15 and 3 × 21, without their last


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="no frames"):
        write_frames(tmp_path / "a.mp4", iter([]), 8.0)
    with pytest.raises(ValueError, match="even sides, got 7 × 8 pixels"):
        write_frames(tmp_path / "a.mp4", iter([np.zeros((8, 7, 3), np.uint8)]), 8.0)
    assert not (tmp_path / "a.mp4").exists()
