import av
import numpy as np
import pytest
import torch

from vqkit.data import AudioBlocks, audio_info, read_audio

RATE = 24000


def encode(path, samples, codec, rate, options=None, quality=None, with_video=False):
    """Write (channels, samples) with PyAV, the audio cut into frames of the codec's size."""
    layout = "mono" if len(samples) == 1 else "stereo"
    with av.open(str(path), "w", options=options or {}) as container:
        if with_video:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        if quality is not None:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = quality
        if with_video:
            for _ in range(10):
                container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
            container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout=layout,
            rate=stream.rate,
            frame_size=stream.codec_context.frame_size or 1024,
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def tones(seconds=3.0, rate=RATE, channels=1):
    t = np.arange(round(seconds * rate)) / rate
    return np.stack([0.4 * np.sin(2 * np.pi * (300 * (c + 1) * t + 200 * t * t)) for c in range(channels)]).astype(
        np.float32
    )


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("a.m4a", "aac", 24000, 1),
        ("a.mp4", "aac", 44100, 2),
        ("a.mp4", "alac", 24000, 1),
        ("a.webm", "libopus", 48000, 1),
        ("a.mka", "flac", 24000, 2),
        ("a.mp3", "libmp3lame", 24000, 1),
    ],
)
def test_formats_of_ffmpeg(tmp_path, name, codec, rate, channels):
    samples = tones(3.0, rate, channels)
    path = tmp_path / name
    encode(path, samples, codec, rate)
    wave = read_audio(path)
    assert wave.sample_rate == rate
    assert wave.samples.shape[0] == channels
    assert (
        abs(wave.samples.shape[1] - samples.shape[1]) <= 1152
    )  # one codec frame of padding, where the container does not tell
    if name.endswith(("m4a", "mp4", "mka")):
        assert wave.samples.shape == samples.shape
    error = wave.samples[:, : samples.shape[1]].numpy() - samples[:, : wave.samples.shape[1]]
    assert 10 * np.log10(np.square(samples).mean() / np.square(error).mean()) > 15
    info = audio_info(path)
    assert (info.sample_rate, info.channels) == (rate, channels)
    assert info.seconds == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(
    ("name", "codec", "rate"), [("a.m4a", "aac", 24000), ("a.webm", "libopus", 48000), ("a.mka", "flac", 24000)]
)
@pytest.mark.parametrize(("offset", "seconds"), [(0.0, 0.3), (0.1, 0.3), (1.2345, 0.5), (2.5, None), (2.9, 4.0)])
def test_a_part_equals_the_same_part_of_the_whole(tmp_path, name, codec, rate, offset, seconds):
    path = tmp_path / name
    encode(path, tones(3.0, rate), codec, rate)
    whole = read_audio(path).samples
    start = round(offset * rate)
    stop = None if seconds is None else start + round(seconds * rate)
    part = read_audio(path, offset_seconds=offset, seconds=seconds).samples
    torch.testing.assert_close(part, whole[:, start:stop], atol=1e-6, rtol=0)


def test_the_sound_of_a_video(tmp_path):
    path = tmp_path / "a.mp4"
    encode(path, tones(1.0), "aac", RATE, with_video=True)
    assert read_audio(path, 16000).samples.shape == (1, 16000)


def test_mp3_of_variable_rate_without_a_header_has_its_true_length(tmp_path):
    path = tmp_path / "a.mp3"
    samples = tones(6.0)
    samples[:, : RATE * 2] *= 1e-3
    samples[:, RATE * 4 :] = np.random.default_rng(0).uniform(-0.5, 0.5, RATE * 2)
    encode(path, samples, "libmp3lame", RATE, options={"write_xing": "0"}, quality=2 * 118)
    wave = read_audio(path)
    assert samples.shape[1] <= wave.samples.shape[1] <= samples.shape[1] + 3 * 1152
    part = read_audio(path, offset_seconds=4.5, seconds=0.5).samples
    assert torch.equal(part, wave.samples[:, 108000:120000])


def test_a_video_without_sound_is_refused(tmp_path):
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"silent\.mp4 has no audio stream"):
        read_audio(path)


def test_a_truncated_m4a_is_refused(tmp_path):
    path = tmp_path / "cut.m4a"
    encode(path, tones(1.0), "aac", RATE)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cut\.m4a is not audio that soundfile or PyAV can read"):
        read_audio(path)


def test_a_name_with_a_colon_is_a_file(tmp_path):
    path = tmp_path / "concat:a|b.m4a"
    encode(tmp_path / "a.m4a", tones(0.5), "aac", RATE)
    (tmp_path / "a.m4a").rename(path)
    assert read_audio(path).samples.shape == (1, RATE // 2)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{secret}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{itself}\n",  # live, and itself: never ends
        "ffconcat version 1.0\nfile '{secret}'\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" '
        'type="static" mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1">'
        "<BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
    ids=["hls", "live hls", "concat", "dash", "sdp"],
)
@pytest.mark.parametrize("suffix", [".m3u8", ".mp3", ".wav", ".mpd", ".sdp", ".ffconcat"])
def test_a_playlist_opens_nothing(tmp_path, text, suffix):
    (tmp_path / "private").mkdir()
    encode(tmp_path / "private/secret.mp3", tones(0.2), "libmp3lame", RATE)
    path = tmp_path / f"evil{suffix}"
    path.write_text(text.format(secret=tmp_path / "private/secret.mp3", itself=path))
    with pytest.raises(ValueError, match="is not audio that soundfile or PyAV can read"):
        read_audio(path)
    with path.open("rb") as file, pytest.raises(ValueError, match="is not audio that soundfile or PyAV can read"):
        AudioBlocks(file)
