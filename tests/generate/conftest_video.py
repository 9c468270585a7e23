"""Small videos that the tests draw themselves."""

import av
import numpy as np


def write_video(path, seconds=2.6, rate=10, size=(48, 64), codec="libx264", sound=True):
    """Gray frames that get brighter each second, with a tone."""
    with av.open(str(path), "w") as file:
        picture = file.add_stream(codec, rate=rate)
        picture.height, picture.width, picture.pix_fmt = *size, "yuv420p"
        voice = file.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index in range(round(seconds * rate)):
            level = 40 + 60 * (index // rate)
            pixels = np.full((*size, 3), level, np.uint8)
            pixels[:, : index % size[1]] = 255 - level
            file.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(picture.encode(None))
        if voice is not None:
            for start in range(0, round(seconds * 16000), 1024):
                wave = np.sin(np.arange(start, start + 1024) * 0.1).astype(np.float32)[None] * 0.1
                frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16000, start
                file.mux(voice.encode(frame))
            file.mux(voice.encode(None))
    return path
