import io
import weakref

import numpy as np
import pytest
import soundfile
import torch

from vqkit import RVQ, VQ
from vqkit.bitstream import StaticTables, VqkReader, inspect, thin
from vqkit.cli import main
from vqkit.coding import Rate, decode_file, encode_file
from vqkit.coding.audio.encode import AudioBlocks
from vqkit.data import read_audio, sample_folder, write_audio
from vqkit.models import FrameCodec


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(8000, 1, 2.01), (44100, 2, 1.5), (11025, 1, 0.02)])
@pytest.mark.parametrize("stages", [None, 2])
def test_the_file_is_that_of_compress(codec, sound, tmp_path, rate, channels, seconds, stages):
    source = sound(tmp_path / "a.wav", seconds, rate, channels)
    coded = encode_file(codec, source, tmp_path / "a.vqk", Rate(stages=stages))
    wav = read_audio(source)
    whole = codec.compress(wav.samples, wav.sample_rate, codec.bitrate_kbps(stages))
    assert (tmp_path / "a.vqk").read_bytes() == whole
    assert coded.bytes == len(whole)
    assert coded.stages == (stages or 4)
    assert coded.seconds == pytest.approx(seconds, abs=1 / 8000)
    assert bool(coded.notes) == (channels == 2)


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.opus", "a.mp3", "a.aiff"])
def test_formats(codec, sound, tmp_path, name):
    source = sound(tmp_path / name, 2.0, 16000)
    encode_file(codec, source, tmp_path / "a.vqk")
    codes = VqkReader(tmp_path / "a.vqk").read()
    expected = codec.encode(read_audio(source, 8000, 1).samples[None])[0].T
    assert codes.shape == expected.shape
    assert (codes == expected).float().mean() > 0.999


def test_the_length_is_in_samples_of_the_codec(codec, sound, tmp_path):
    encode_file(codec, sound(tmp_path / "a.wav", 1.2345, 44100), tmp_path / "a.vqk")
    with VqkReader(tmp_path / "a.vqk") as reader:
        assert reader.length == reader.header.length == round(round(1.2345 * 44100) * 8000 / 44100)
        assert reader.frames == -(-reader.length // 20)


def test_a_pipe_gives_the_same_codes(codec, sound, tmp_path):
    source = sound(tmp_path / "a.flac", 2.0, 16000)

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise io.UnsupportedOperation

    encode_file(codec, source, tmp_path / "a.vqk")
    target = io.BytesIO()
    encode_file(codec, Pipe(source.read_bytes()), target)
    piped, file = VqkReader(io.BytesIO(target.getvalue())), VqkReader(tmp_path / "a.vqk")
    assert torch.equal(piped.read(), file.read())
    assert piped.length == file.length == 16000
    assert piped.header.length is None  # not known when it was written


@pytest.mark.parametrize("max_bytes", [1500, 2000, 10**6])
def test_max_bytes_is_kept_and_used(codec, sound, tmp_path, max_bytes):
    source = sound(tmp_path / "a.wav", 3.0)
    coded = encode_file(codec, source, tmp_path / "a.vqk", Rate(max_bytes=max_bytes))
    size = (tmp_path / "a.vqk").stat().st_size
    assert coded.bytes == size <= max_bytes
    encode_file(codec, source, tmp_path / "full.vqk")
    assert inspect(tmp_path / "a.vqk")["stages"] == [coded.stages] * 2
    if coded.stages < 4:
        thin(tmp_path / "full.vqk", tmp_path / "more.vqk", coded.stages + 1)
        assert (tmp_path / "more.vqk").stat().st_size > max_bytes
    target = io.BytesIO()
    encode_file(codec, source, target, Rate(max_bytes=max_bytes))
    assert target.getvalue() == (tmp_path / "a.vqk").read_bytes()


def test_a_size_that_cannot_be_kept_names_the_smallest(codec, sound, tmp_path):
    source = sound(tmp_path / "a.wav", 3.0)
    with pytest.raises(
        ValueError, match=r"max_bytes is 100, and the smallest possible file, of one stage, has \d+"
    ) as e:
        encode_file(codec, source, tmp_path / "a.vqk", Rate(max_bytes=100))
    assert not (tmp_path / "a.vqk").exists()
    smallest = int(str(e.value).split()[-2])
    assert encode_file(codec, source, tmp_path / "a.vqk", Rate(max_bytes=smallest)).bytes == smallest
    with pytest.raises(ValueError, match=f"has {smallest} bytes"):
        encode_file(codec, source, tmp_path / "b.vqk", Rate(max_bytes=smallest - 1))


def test_what_the_header_says(codec, sound, tmp_path):
    source = sound(tmp_path / "a.wav")
    encode_file(codec, source, tmp_path / "a.vqk", licence="CC0-1.0", metadata={"title": "A"})
    found = inspect(tmp_path / "a.vqk")
    assert (found["licence"], found["metadata"]) == ("CC0-1.0", {"title": "A"})


def test_the_sound_of_a_video(codec, tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("mpeg4", rate=10), container.add_stream("aac", rate=44100, layout="stereo")
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        for _ in range(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(video.encode(None))
        tone = 0.3 * np.sin(np.arange(1024 * 43) * 0.05).astype(np.float32)
        for start in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(np.stack([tone[start : start + 1024]] * 2), "fltp", "stereo")
            frame.sample_rate, frame.pts = 44100, start
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    coded = encode_file(codec, path, tmp_path / "a.vqk")
    assert coded.seconds == pytest.approx(1024 * 43 / 44100, abs=0.03)
    assert coded.notes == ("2 channels mixed to one: the codec is mono",)
    expected = codec.encode(read_audio(path, 8000, 1).samples[None])[0].T
    assert (VqkReader(tmp_path / "a.vqk").read() == expected).float().mean() > 0.99


def test_mono_to_a_stereo_codec_and_too_many_channels(codec_of, sound, tmp_path):
    stereo = codec_of(channels=2)
    source = sound(tmp_path / "a.wav")
    assert encode_file(stereo, source, tmp_path / "a.vqk").notes == ("mono in each of 2 channels",)
    assert (tmp_path / "a.vqk").read_bytes() == stereo.compress(read_audio(source).samples, 8000)
    with pytest.raises(ValueError, match="it has 4 channels, this codec takes 2 or 1"):
        encode_file(stereo, sound(tmp_path / "b.wav", channels=4), tmp_path / "b.vqk")


def test_a_codec_without_streaming_takes_the_whole(codec_of, sound, tmp_path):
    whole = codec_of(norm="time_group_norm")
    source = sound(tmp_path / "a.wav")
    encode_file(whole, source, tmp_path / "a.vqk")
    assert (tmp_path / "a.vqk").read_bytes() == whole.compress(read_audio(source).samples, 8000)


def test_memory_does_not_grow_with_the_file(codec, tmp_path, monkeypatch):
    write_audio(tmp_path / "a.flac", torch.randn(1, 16000 * 40) * 0.1, 16000)
    alive, most, blocks = weakref.WeakSet(), 0, 0
    read = AudioBlocks.__iter__

    def counted(self):
        nonlocal most, blocks
        for block in read(self):
            alive.add(block)
            most, blocks = max(most, len(alive)), blocks + 1
            yield block

    monkeypatch.setattr(AudioBlocks, "__iter__", counted)
    seen = []
    encode_file(codec, tmp_path / "a.flac", tmp_path / "a.vqk", watch=lambda *progress: seen.append(progress))
    assert blocks == 40
    assert most <= 2
    assert seen[-1] == (40.0, 1.0)
    assert [seconds for seconds, _ in seen] == sorted(seconds for seconds, _ in seen)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.wav", b"no sound", "a.wav is not audio that soundfile or PyAV can read"),
        ("a.wav", b"", r"a.wav is empty \(0 bytes\)"),
        ("nowhere.wav", None, "no such audio file: .*nowhere.wav"),
    ],
)
def test_bad_sources_leave_no_file(codec, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        encode_file(codec, tmp_path / name, tmp_path / "a.vqk")
    assert not list(tmp_path.glob("*.vqk*"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff"])
def test_a_file_that_ends_early_is_encoded_with_silence_and_a_warning_or_with_strict_not_at_all(
    codec, sound, tmp_path, suffix, piped
):
    source = sound(tmp_path / f"a{suffix}", 4.0)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    given = io.BufferedReader(io.FileIO(source)) if piped else source
    coded = encode_file(codec, given, tmp_path / "a.vqk")
    assert coded.seconds == 4.0
    assert coded.missing_seconds == pytest.approx(2.0, abs=0.6)
    assert coded.record()["missing_seconds"] == coded.missing_seconds
    assert any("the header promises 4.000 s" in text for text in coded.warnings)
    with VqkReader(tmp_path / "a.vqk") as reader:
        assert reader.length == 32000
    given = io.BufferedReader(io.FileIO(source)) if piped else source
    with pytest.raises(ValueError, match=rf"a{suffix} is damaged: "):
        encode_file(codec, given, tmp_path / "b.vqk", strict=True)
    assert {path.name for path in tmp_path.iterdir()} == {f"a{suffix}", "a.vqk"}


def test_nan_and_too_little_leave_no_file(codec, sound, tmp_path):
    source = sound(tmp_path / "a.wav", 3.0, subtype="FLOAT")
    data = bytearray(source.read_bytes())
    data[-4:] = np.float32("nan").tobytes()
    source.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"a.wav holds NaN or infinite samples: the first is nan at sample 23999 \(2.9"
    ):
        encode_file(codec, source, tmp_path / "a.vqk")
    source = sound(tmp_path / "b.wav", 1 / 44100, 44100)
    with pytest.raises(ValueError, match="it is too short: no sample is left at 8000 Hz"):
        encode_file(codec, source, tmp_path / "a.vqk")
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "b.wav"}


def test_notes_and_doubts_of_the_samples(codec, tmp_path):
    tone = np.sin(np.arange(16000) * 0.05)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, -tone], 1), 8000, "FLOAT")
    cancelled = "the channels cancel each other when they are mixed, in 2.0 s of 2.0 s: one is the other turned over"
    coded = encode_file(codec, tmp_path / "a.wav", tmp_path / "a.vqk")
    assert coded.notes == ("2 channels mixed to one: the codec is mono", cancelled)
    assert (coded.warnings, coded.missing_seconds) == ((), 0)
    assert "missing_seconds" not in coded.record()
    soundfile.write(tmp_path / "a.wav", np.round(tone * 32767), 8000, "FLOAT")
    with pytest.raises(ValueError, match="reaches 32767"):  # no codec was trained for that
        encode_file(codec, tmp_path / "a.wav", tmp_path / "b.vqk")


def test_an_interrupt_leaves_no_file(codec, sound, tmp_path):
    source = sound(tmp_path / "a.wav", 5.0)

    def stop(seconds, share):
        if seconds > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_file(codec, source, tmp_path / "a.vqk", watch=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_real_sound(codec, tmp_path):
    clip = sample_folder() / "music/stereo/test/freedoom_countd.flac"
    assert encode_file(codec, clip, tmp_path / "a.vqk").seconds == 2.0


def test_the_prior_of_the_codec_is_used_if_it_has_one(codec_of, sound, tmp_path):
    codec = codec_of()
    source = sound(tmp_path / "a.wav", 3.0)
    wav = read_audio(source).samples
    codec.prior = StaticTables.fit(codec.quantizer.code_sizes, [codec.encode(wav[None])[0].T])
    for options, coding in (({}, "static"), ({"plain": True}, "plain")):
        encode_file(codec, source, tmp_path / "a.vqk", Rate(stages=2), **options)
        assert (tmp_path / "a.vqk").read_bytes() == codec.compress(wav, 8000, codec.bitrate_kbps(2), **options)
        assert inspect(tmp_path / "a.vqk")["coding"] == coding
        assert decode_file(codec, tmp_path / "a.vqk", tmp_path / "b.wav").seconds == 3.0
    coded = encode_file(codec, source, tmp_path / "a.vqk", Rate(max_bytes=2000))
    assert coded.bytes == (tmp_path / "a.vqk").stat().st_size <= 2000


@pytest.fixture
def frame_codec():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = FrameCodec(RVQ(64, 16, 2), sample_rate=8000)
        return codec.fit([0.1 * torch.randn(32000)], iterations=2).eval()


def test_a_codec_of_frames_is_saved_and_used_by_the_commands(frame_codec, sound, tmp_path):
    """It has no stream, no networks, and frames that overlap."""
    frame_codec.save_pretrained(tmp_path / "frames")
    wav, vqk, back = sound(tmp_path / "a.wav", seconds=1.7), tmp_path / "a.vqk", tmp_path / "b.wav"
    assert main(["encode", str(wav), str(vqk), "--model", str(tmp_path / "frames"), "--stages", "1"]) == 0
    samples = read_audio(wav).samples
    assert vqk.read_bytes() == frame_codec.compress(samples, 8000, frame_codec.rates_kbps[0])
    assert main(["decode", str(vqk), str(back), "--model", str(tmp_path / "frames")]) == 0
    expected = frame_codec.decompress(vqk.read_bytes())[0]
    found = read_audio(back).samples
    assert found.shape == expected.shape == samples.shape
    assert (found - expected.clamp(-1, 1)).abs().max() < 1e-4


def test_what_lost_frames_of_overlapping_windows_stand_for_is_silent(frame_codec, sound, tmp_path):
    data = bytearray(frame_codec.compress(read_audio(sound(tmp_path / "a.wav", seconds=9.0)).samples, 8000))
    data[len(data) // 2] ^= 1
    with pytest.warns(UserWarning, match="frames"):
        expected = frame_codec.decompress(bytes(data))[0]
    made = decode_file(frame_codec, io.BytesIO(data), tmp_path / "b.wav")
    assert len(made.warnings) == 1
    found = read_audio(tmp_path / "b.wav").samples
    assert not expected.any(dim=0).all()
    assert (found - expected.clamp(-1, 1)).abs().max() < 1e-4


def test_stages_by_need(codec, model, sound, tmp_path, capsys):
    """The command, the function and `compress` write the same file; thinned or limited it has at most so many stages."""
    source = sound(tmp_path / "a.wav", 2.0)
    wav, _ = soundfile.read(source, dtype="float32")
    with soundfile.SoundFile(source, "r+") as file:  # quiet, then loud
        file.write(wav * np.linspace(0, 1, len(wav)))
    wav = read_audio(source)
    z = codec.analyze(wav.samples[None])
    weight = next(2.0**n for n in range(-16, 16) if (codec.quantizer.encode(z, rate_weight=2.0**n) < 0).sum() > 100)
    coded = encode_file(codec, source, tmp_path / "a.vqk", Rate(rate_weight=weight))
    data = (tmp_path / "a.vqk").read_bytes()
    assert data == codec.compress(wav.samples, wav.sample_rate, rate_weight=weight)
    assert (coded.bytes, coded.stages, inspect(tmp_path / "a.vqk")["format_version"]) == (len(data), 4, 3)
    command = ["encode", str(source), str(tmp_path / "b.vqk"), "--model", str(model), "--quiet", "--rate-weight"]
    assert main([*command, str(weight)]) == 0
    assert (tmp_path / "b.vqk").read_bytes() == data
    decoded = decode_file(codec, tmp_path / "b.vqk", tmp_path / "b.wav")
    assert decoded.stages == 4
    assert torch.allclose(read_audio(tmp_path / "b.wav").samples, codec.decompress(data)[0], atol=2**-14)

    two = io.BytesIO()
    thin(tmp_path / "a.vqk", two, 2)
    assert main([*command, str(weight), "-f", "--stages", "2"]) == 0
    limited, thinned = VqkReader(tmp_path / "b.vqk").read(), VqkReader(io.BytesIO(two.getvalue())).read()
    assert torch.equal(limited, thinned[:, :2])
    assert main([*command, "-0.5", "-f"]) == 2
    assert "rate_weight must be at least 0 and finite, got -0.5" in capsys.readouterr().err


def test_a_quantizer_that_cannot_choose_is_named_before_anything_is_written(sound, tmp_path, capsys):
    FrameCodec(VQ(40, 8), sample_rate=8000).save_pretrained(tmp_path / "model")
    source = sound(tmp_path / "a.wav", 0.5)
    arguments = ["encode", str(source), str(tmp_path / "a.vqk"), "--model", str(tmp_path / "model")]
    assert main([*arguments, "--rate-weight", "0.1"]) == 2
    assert "VQ has no stages to leave out: rate_weight needs a Residual" in capsys.readouterr().err
    assert not (tmp_path / "a.vqk").exists()
