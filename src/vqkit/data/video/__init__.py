"""Video files → tensors of frames."""

from vqkit.data.video.clips import VideoClips, middle_clip
from vqkit.data.video.items import VideoItem, list_videos
from vqkit.data.video.reader import read_frames

__all__ = ["VideoClips", "VideoItem", "list_videos", "middle_clip", "read_frames"]
