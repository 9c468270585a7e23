"""Photographs, illustrations, stamps and videos as the image and video tokenizers were trained on them, from files of packages."""

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

LONGEST_SIDE = 1280  # of photographs and illustrations, in pixels
STAMP_SIDE = 128
JPEG = {"quality": 92, "subsampling": 0, "optimize": True}  # 4:4:4, so colours keep their resolution
H264 = ["-c:v", "libx264", "-preset", "slow", "-crf", "21", "-pix_fmt", "yuv420p", "-threads", "1"]
PLAIN = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact"]


def picture(source: Path) -> bytes:
    """A photograph or an illustration as JPEG, no longer than `LONGEST_SIDE`."""
    with Image.open(source) as opened:
        image = opened.convert("RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return _encoded(image, "JPEG", **JPEG)


def stamp(source: Path) -> bytes:
    """A drawing without its transparent margins as PNG with alpha, no longer than `STAMP_SIDE`."""
    with Image.open(source) as opened:
        image = opened.convert("RGBA")
    image = image.crop(image.getchannel("A").getbbox())
    if max(image.size) > STAMP_SIDE:
        # Explicitly premultiplied: Pillow before 13 leaves out the coarse reduction of what it has to premultiply itself.
        image = image.convert("RGBa")
        image.thumbnail((STAMP_SIDE, STAMP_SIDE), Image.Resampling.LANCZOS)
        image = image.convert("RGBA")
    return _encoded(image, "PNG", optimize=True)


def _encoded(image: Image.Image, kind: str, **options: int | bool) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def video(source: Path, start: str, duration: str, options: str) -> bytes:
    """A stretch of a video as MP4: H.264, and AAC in stereo where there is sound.

    Args:
        source: the video file.
        start: where the stretch starts, in seconds.
        duration: its length in seconds.
        options: further options of FFmpeg, for scale, crop and the rate of the sound.

    Raises:
        RuntimeError: FFmpeg is not installed, or fails.
    """
    if shutil.which("ffmpeg") is None:
        raise RuntimeError("ffmpeg is needed for videos: apt-get install ffmpeg")
    with tempfile.TemporaryDirectory() as work:
        result = Path(work) / "out.mp4"
        command = ["ffmpeg", "-v", "error", "-nostdin", "-ss", start, "-t", duration, "-i", str(source)]
        command += [*H264, "-c:a", "aac", "-ac", "2", *options.split(), *PLAIN, "-movflags", "+faststart", str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not result.is_file():
            raise RuntimeError(f"ffmpeg failed: {done.stderr.strip() or 'no file'}")
        return result.read_bytes()
