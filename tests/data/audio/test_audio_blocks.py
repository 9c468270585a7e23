import io

import numpy as np
import pytest
import soundfile
import torch

from vqkit.data import AudioBlocks, read_audio, write_audio


class Pipe(io.BytesIO):
    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3"])
@pytest.mark.parametrize("block_seconds", [0.01, 0.7, 100])
def test_the_blocks_are_those_of_the_whole(tmp_path, name, block_seconds):
    torch.manual_seed(0)
    write_audio(tmp_path / name, torch.randn(2, 40_001) * 0.1, 24000)
    with AudioBlocks(tmp_path / name, block_seconds) as source:
        blocks = list(source)
        whole = read_audio(tmp_path / name)
        assert torch.equal(torch.cat(blocks, dim=-1), whole.samples)
        assert (source.sample_rate, source.channels) == (whole.sample_rate, 2)
        assert {block.shape[1] for block in blocks[:-1]} <= {round(block_seconds * source.sample_rate)}
        assert source.seconds == pytest.approx(whole.seconds, abs=0.1)
        assert source.num_samples == (None if name == "a.mp3" else whole.samples.shape[1])


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16")]
)
def test_a_pipe_gives_the_same_samples(tmp_path, form, subtype):
    noise = np.random.default_rng(0).standard_normal((30_000, 2)) * 0.1
    soundfile.write(tmp_path / "a", noise, 22050, subtype, format=form)
    with AudioBlocks(Pipe((tmp_path / "a").read_bytes())) as source:
        assert torch.equal(torch.cat(list(source), dim=-1), read_audio(tmp_path / "a").samples)
        assert source.num_samples is None


def test_bad_sources(tmp_path):
    for make, message in (
        (lambda: AudioBlocks(Pipe(b"no sound at all" * 99)), "the stream is not audio that soundfile or PyAV can read"),
        (lambda: AudioBlocks(Pipe(b"")), "the stream is not audio: it is empty"),
        (lambda: AudioBlocks(tmp_path, 0), "block_seconds is 0, it must be more than 0"),
        (lambda: AudioBlocks(tmp_path), "is a folder, not an audio file"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 1)), 8000)
    with AudioBlocks(tmp_path / "a.wav") as source, pytest.raises(ValueError, match="a.wav holds no samples"):
        list(source)
