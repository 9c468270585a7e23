"""Pictures come at their times, and the copy of a video has the same picture, packet for packet, with another sound."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from conftest_video import write_video

from vqkit.data import read_audio, write_audio
from vqkit.data.video import check_container, copy_with_sound, picture_seconds, pictures, video_info


def packets(path):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        found = [(p.pts * p.time_base, bytes(p)) for p in file.demux(stream) if p.size]
        return found, stream.codec_context.name, stream.codec_context.extradata


def test_a_picture_a_second(video):
    found = list(pictures(video, 16))
    assert [tuple(picture.shape) for picture in found] == [(3, 16, 16)] * 3  # at 0, 1 and 2 of 2.6 seconds
    brightness = [float(picture[:, :, -1].mean()) * 255 for picture in found]
    assert brightness == pytest.approx([40, 100, 160], abs=6)
    assert len(list(pictures(video, 16, 5))) == 13
    assert video_info(video).seconds == pytest.approx(2.6, abs=0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_the_picture_is_copied_untouched(video, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    tone = 0.5 * torch.sin(torch.arange(round(2.6 * 16000)) * 0.3)[None]
    copy_with_sound(video, out, iter(tone.split(5000, dim=1)), 16000, 1)
    before, after = packets(video), packets(out)
    assert [data for _, data in after[0]] == [data for _, data in before[0]]
    assert after[1:] == before[1:]
    shift = after[0][0][0] - before[0][0][0]
    for one, other in zip(before[0], after[0], strict=True):
        assert float(other[0] - one[0]) == pytest.approx(float(shift), abs=2e-3)
    copy_with_sound(out, tmp_path / "again.mp4", iter(tone.split(5000, dim=1)), 16000, 1)
    assert [data for _, data in packets(tmp_path / "again.mp4")[0]] == [data for _, data in before[0]]
    with av.open(str(out)) as file:
        assert (len(file.streams.video), len(file.streams.audio)) == (1, 1)
        assert sum(1 for _ in file.decode(video=0)) == 26
    heard = read_audio(out).samples
    assert heard.shape[1] / 16000 == pytest.approx(2.6, abs=0.15)
    middle = heard[0, 16000:24000]
    spectrum = torch.fft.rfft(middle).abs()
    assert spectrum.argmax().item() == pytest.approx(0.3 / (2 * torch.pi) * 8000, abs=3)  # the new tone, not the old


def begins(path):
    """When the first packet of picture and sound is shown, and when the last one ends, in seconds."""
    spans = []
    for kind in ("video", "audio"):
        with av.open(str(path)) as file:
            times = [
                (p.pts * p.time_base, (p.pts + p.duration) * p.time_base) for p in file.demux(**{kind: 0}) if p.size
            ]
            spans.append((float(min(times)[0]), float(max(end for _, end in times))))
    return spans


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_sound_begins_when_the_first_frame_is_shown(tmp_path, suffix):
    late = tmp_path / f"late{suffix}"
    with av.open(str(late), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in range(3000, 4100, 100):
            image = np.full((48, 64, 3), time % 255, "u1")
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    assert picture_seconds(late) == pytest.approx(1.1, abs=0.01)
    out = tmp_path / f"out{suffix}"
    copy_with_sound(late, out, [torch.zeros(1, round(1.1 * 16000))], 16000, 1)
    (picture, picture_end), (sound, sound_end) = begins(out)
    assert picture == pytest.approx(begins_picture(late), abs=0.01)
    assert sound == pytest.approx(picture, abs=0.07)  # an AAC frame of 1,024 samples comes before
    assert sound_end == pytest.approx(picture_end, abs=0.1)


def begins_picture(path):
    with av.open(str(path)) as file:
        return float(min(p.pts * p.time_base for p in file.demux(video=0) if p.size))


def test_sound_begins_with_the_picture_of_a_file_without_durations(tmp_path):
    """AVI with reordered frames: its header says 0, the first frame is shown at 0.1 s, and no packet has a duration."""
    source, out, rate = tmp_path / "reordered.avi", tmp_path / "out.mkv", 16000
    with av.open(str(source), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base, stream.codec_context.max_b_frames = Fraction(1, 1000), 2
        for index in range(20):
            pixels = np.random.default_rng(index).integers(0, 256, (48, 64, 3), "u1")
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = 100 * index, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with av.open(str(source)) as file:
        times = sorted({packet.pts for packet in file.demux(video=0) if packet.pts is not None})
    assert picture_seconds(source) == pytest.approx((times[-1] - times[0]) / 1000 + 0.1)  # the last frame counts, too
    wave = torch.zeros(1, 2 * rate)
    wave[0, rate // 2 : rate // 2 + 16] = 0.9
    copy_with_sound(source, out, [wave], rate, 1)
    with av.open(str(out)) as file:
        first = next(file.decode(video=0)).time
    loudest, heard = 0.0, 0.0
    with av.open(str(out)) as file:
        for frame in file.decode(audio=0):
            samples = np.abs(frame.to_ndarray()[0])
            if samples.max() > loudest:
                loudest, heard = samples.max(), frame.time + samples.argmax() / rate
    assert heard == pytest.approx(first + 0.5, abs=0.005)


def test_a_video_is_not_replaced_by_its_own_copy(video, tmp_path):
    own = tmp_path / "own.mp4"
    own.write_bytes(video.read_bytes())
    link = tmp_path / "link.mp4"
    link.symlink_to(own)
    for source, target, which in (
        (own, own, "source itself"),
        (link, own, "same file as"),
        (own, link, "same file as"),
    ):
        with pytest.raises(ValueError, match=f"{which}.*, which would be lost"):
            copy_with_sound(source, target, [torch.zeros(1, 20000)], 16000, 1, overwrite=True)
    assert own.read_bytes() == video.read_bytes()


def test_stereo_and_replacing(video, tmp_path):
    out = tmp_path / "out.mp4"
    copy_with_sound(video, out, [torch.zeros(2, 20000)], 16000, 2)
    with pytest.raises(FileExistsError):
        copy_with_sound(video, out, [torch.zeros(2, 20000)], 16000, 2)
    copy_with_sound(video, out, [torch.zeros(1, 20000)], 16000, 1, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4"]


def test_an_error_in_the_sound_leaves_nothing_behind(video, tmp_path):
    def broken():
        yield torch.zeros(1, 20000)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        copy_with_sound(video, tmp_path / "out.mp4", broken(), 16000, 1)
    assert not list(tmp_path.iterdir())


def test_errors(video, tmp_path):
    with pytest.raises(ValueError, match="the suffix is '.avi', allowed are .mp4"):
        check_container("a.avi")
    with pytest.raises(FileNotFoundError, match="no such file"):
        next(pictures(tmp_path / "none.mp4", 16))
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(ValueError, match="is not a video that PyAV can read"):
        next(pictures(tmp_path / "text.mp4", 16))
    write_audio(tmp_path / "sound.ogg", torch.zeros(1, 8000), 8000)
    with pytest.raises(ValueError, match="has no moving picture that can be decoded"):
        next(pictures(tmp_path / "sound.ogg", 16))
    write_video(tmp_path / "old.mkv", seconds=1, codec="mpeg4", sound=False)
    copy_with_sound(tmp_path / "old.mkv", tmp_path / "copy.mkv", [torch.zeros(1, 9000)], 16000, 1)
    assert [data for _, data in packets(tmp_path / "copy.mkv")[0]] == [
        data for _, data in packets(tmp_path / "old.mkv")[0]
    ]


def test_pixels_that_are_not_square_are_shown_as_they_are_meant(tmp_path):
    """A film of 32×32 pixels, each twice as wide as high: the square in the middle is its middle half."""
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        values = np.zeros((32, 32, 3), np.uint8)
        values[:, 8:24] = 200
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(values, "rgb24")
            frame.pts = index
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    (picture,) = pictures(path, 16)
    assert picture[:, :, 1:-1].min() > 0.6
