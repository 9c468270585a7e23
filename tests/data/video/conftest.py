from fractions import Fraction

import av
import numpy as np
import pytest


def write_video(path, count=20, size=(48, 64), rate=10, times=None, codec="mpeg4"):
    """Frames whose brightness tells their number; the left half is darker."""
    container = av.open(str(path), "w")
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
    stream.codec_context.time_base = Fraction(1, 1000)
    for index in range(count):
        pixels = np.full((*size, 3), 40 + 8 * index, np.uint8)
        pixels[:, : size[1] // 2] = 20
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.time_base = Fraction(1, 1000)
        frame.pts = round(1000 * (index / rate if times is None else times[index]))
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    container.close()
    return path


@pytest.fixture
def video():
    """A function that writes a video."""
    return write_video
