"""Video files → tensors of frames; and a copy of one with another sound."""

from vqkit.data.video.clips import VideoClips, middle_clip, middle_frames
from vqkit.data.video.container import VideoInfo, picture_seconds, video_info
from vqkit.data.video.items import VideoItem, list_videos
from vqkit.data.video.pictures import pictures
from vqkit.data.video.reader import read_frames
from vqkit.data.video.whole import MAX_VIDEO_MEGAPIXELS, WholeVideo, read_video
from vqkit.data.video.with_sound import check_container, copy_with_sound

__all__ = [
    "MAX_VIDEO_MEGAPIXELS",
    "VideoClips",
    "VideoInfo",
    "VideoItem",
    "WholeVideo",
    "check_container",
    "copy_with_sound",
    "list_videos",
    "middle_clip",
    "middle_frames",
    "picture_seconds",
    "pictures",
    "read_frames",
    "read_video",
    "video_info",
]
