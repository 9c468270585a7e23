import io

import numpy as np
import pytest
import soundfile
import torch

from vqkit.bitstream import BitstreamError, VqkWriter, inspect
from vqkit.coding import Rate, decode_file, encode_file
from vqkit.coding.audio.decode import VqkReader
from vqkit.data import read_audio
from vqkit.models.audio.compression import vqk_header


class Pipe(io.BytesIO):
    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation


@pytest.fixture
def file(codec, sound, tmp_path):
    """5 seconds and a half frame."""
    encode_file(codec, sound(tmp_path / "a.wav", 5.00125), tmp_path / "a.vqk")
    return tmp_path / "a.vqk"


@pytest.mark.parametrize("name", ["b.wav", "b.flac", "b.ogg", "b.opus", "b.mp3"])
def test_formats_and_length(codec, file, tmp_path, name):
    coded = decode_file(codec, file, tmp_path / name)
    whole, _ = codec.decompress(file.read_bytes())
    back = read_audio(tmp_path / name, channels=1)
    assert coded.seconds == 5.00125
    assert coded.bytes == file.stat().st_size
    assert coded.stages == 4
    if name in ("b.wav", "b.flac"):
        assert back.samples.shape == whole.shape == (1, 40010)
        assert (back.samples - whole.clamp(-1, 1)).abs().max() < 1.1 * 2**-15
    else:
        assert back.seconds == pytest.approx(5.00125, abs=0.1)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
def test_pipes_give_the_same(codec, file, tmp_path, suffix):
    decode_file(codec, file, tmp_path / f"b{suffix}")
    target = io.BytesIO()
    coded = decode_file(codec, Pipe(file.read_bytes()), target, suffix=suffix)
    (tmp_path / f"c{suffix}").write_bytes(target.getvalue())
    one, other = (read_audio(tmp_path / f"{name}{suffix}").samples for name in "bc")
    assert torch.equal(one, other)
    assert coded.seconds == 5.00125
    seekable = io.BytesIO()
    decode_file(codec, io.BytesIO(file.read_bytes()), seekable, suffix=suffix)
    assert soundfile.info(io.BytesIO(seekable.getvalue())).frames == one.shape[1]


@pytest.mark.parametrize("piped", [False, True])
def test_damage_is_silent_and_named_and_the_rest_is_as_without(codec, file, tmp_path, piped):
    whole, _ = codec.decompress(file.read_bytes())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    damage = inspect(io.BytesIO(data))["damage"][0]
    first, last = damage["start_frame"] * 20, (damage["start_frame"] + damage["frames"]) * 20
    coded = decode_file(codec, Pipe(data) if piped else io.BytesIO(data), tmp_path / "b.wav")
    assert len(coded.warnings) == 1
    assert f"frames {first // 20} to {last // 20 - 1} are lost; silence stands for them" in coded.warnings[0]
    back = read_audio(tmp_path / "b.wav").samples
    assert back.shape == whole.shape
    assert (back[:, first:last] == 0).all()
    assert (back[:, :first] - whole[:, :first].clamp(-1, 1)).abs().max() < 1.1 * 2**-15
    with pytest.warns(UserWarning, match="silence stands for them"):
        expected, _ = codec.decompress(bytes(data))
    assert (back - expected.clamp(-1, 1)).abs().max() < 1.1 * 2**-15


@pytest.mark.parametrize("piped", [False, True])
def test_bytes_behind_the_end_are_told(codec, file, tmp_path, piped):
    data = file.read_bytes() + b"xxxx"
    coded = decode_file(codec, Pipe(data) if piped else io.BytesIO(data), tmp_path / "b.wav")
    assert coded.warnings == ("4 bytes follow the end that do not belong to the file",)
    with pytest.warns(UserWarning, match="4 bytes follow the end"):
        codec.decompress(data)


@pytest.mark.parametrize("piped", [False, True])
def test_what_is_cut_off_is_decoded_as_far_as_it_goes(codec, file, tmp_path, piped):
    data = file.read_bytes()[:-200]
    coded = decode_file(codec, Pipe(data) if piped else io.BytesIO(data), tmp_path / "b.wav")
    assert coded.warnings[-1] == "the file is cut off after 1600 frames"
    assert read_audio(tmp_path / "b.wav").samples.shape == (1, 32000)


def test_files_of_fewer_stages(codec, sound, tmp_path):
    for rate in (Rate(stages=2), Rate(max_bytes=2300)):
        encode_file(codec, sound(tmp_path / "a.wav", 3.0), tmp_path / "a.vqk", rate)
        assert decode_file(codec, tmp_path / "a.vqk", tmp_path / "b.wav").stages == 2
        whole, _ = codec.decompress((tmp_path / "a.vqk").read_bytes())
        assert (read_audio(tmp_path / "b.wav").samples - whole.clamp(-1, 1)).abs().max() < 1.1 * 2**-15


def test_a_codec_without_streaming_and_with_two_channels(codec_of, sound, tmp_path):
    codec = codec_of(norm="time_group_norm", channels=2)
    encode_file(codec, sound(tmp_path / "a.wav", 2.0, channels=2), tmp_path / "a.vqk")
    decode_file(codec, tmp_path / "a.vqk", tmp_path / "b.wav")
    whole, _ = codec.decompress((tmp_path / "a.vqk").read_bytes())
    assert (read_audio(tmp_path / "b.wav").samples - whole.clamp(-1, 1)).abs().max() < 1.1 * 2**-15


def test_memory_does_not_grow_with_the_file(codec, tmp_path, monkeypatch):
    with VqkWriter(tmp_path / "a.vqk", vqk_header(codec)) as writer:
        writer.write(torch.randint(0, 64, (400 * 40, 4)))
    read, seconds_read = VqkReader.__iter__, 0.0

    def counted(self):
        nonlocal seconds_read
        for block in read(self):
            seconds_read += len(block.codes) / 400
            yield block

    monkeypatch.setattr(VqkReader, "__iter__", counted)
    seen = []
    decode_file(
        codec, tmp_path / "a.vqk", tmp_path / "b.wav", watch=lambda done, _: seen.append((done, seconds_read - done))
    )
    assert seen[-1] == (40.0, 0.0)
    assert max(ahead for _, ahead in seen) <= 2


def test_bad_files_leave_nothing(codec, codec_of, file, tmp_path):
    other = codec_of(num_filters=2)
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(BitstreamError, match="written by model 'AudioCodec' with weights"):
        decode_file(other, file, tmp_path / "b.wav")
    (tmp_path / "a.vqk").write_bytes(b"RIFF")
    with pytest.raises(BitstreamError, match="not a vqk file"):
        decode_file(codec, file, tmp_path / "b.wav")
    with VqkWriter(file, vqk_header(codec)):
        pass
    for source in (file, Pipe(file.read_bytes())):
        with pytest.raises(ValueError, match="it holds no sound"):
            decode_file(codec, source, tmp_path / "b.wav")
    with pytest.raises(ValueError, match=r"cannot write .*b.m4a: the suffix is '.m4a', allowed are .wav, .flac"):
        decode_file(codec, file, tmp_path / "b.m4a")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_an_interrupt_leaves_no_file(codec, file, tmp_path):
    def stop(seconds, share):
        if seconds > 2:
            raise KeyboardInterrupt

    for target in (tmp_path / "b.flac", io.BytesIO()):
        with pytest.raises(KeyboardInterrupt):
            decode_file(codec, file, target, suffix=".flac", watch=stop)
    assert target.getvalue() == b""
    assert {path.name for path in tmp_path.iterdir()} == {"a.vqk", "a.wav"}


def test_rounding_is_that_of_a_file(codec, file, tmp_path):
    target = io.BytesIO()
    decode_file(codec, file, target)
    decode_file(codec, file, tmp_path / "b.wav")
    assert np.array_equal(
        soundfile.read(io.BytesIO(target.getvalue()), dtype="int16")[0],
        soundfile.read(tmp_path / "b.wav", dtype="int16")[0],
    )
