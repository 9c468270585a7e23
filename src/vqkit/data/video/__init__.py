"""Video files → tensors of frames; and a copy of one with another sound."""

from vqkit.data.video.clips import VideoClips, middle_clip, middle_frames
from vqkit.data.video.container import VideoInfo, video_info
from vqkit.data.video.items import VideoItem, list_videos
from vqkit.data.video.pictures import pictures
from vqkit.data.video.reader import read_frames
from vqkit.data.video.with_sound import check_container, copy_with_sound

__all__ = [
    "VideoClips",
    "VideoInfo",
    "VideoItem",
    "check_container",
    "copy_with_sound",
    "list_videos",
    "middle_clip",
    "middle_frames",
    "pictures",
    "read_frames",
    "video_info",
]
