import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
import torch

from vqkit.data import AudioWriter, read_audio, write_audio


def noise(channels=1, samples=5000, seed=0):
    return torch.rand(channels, samples, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_formats_return_the_rounded_samples(tmp_path, suffix, bits, channels):
    samples = noise(channels)
    path = tmp_path / f"a{suffix}"
    write_audio(path, samples, 16000, bits=bits)
    back = read_audio(path).samples
    scale = 2.0 ** (bits - 1)
    assert torch.equal(back.double(), ((samples.double() * scale).round() / scale).clamp(-1, 1 - 1 / scale))
    assert soundfile.info(path).subtype == f"PCM_{bits}"
    write_audio(tmp_path / f"b{suffix}", back, 16000, bits=bits)
    assert (tmp_path / f"b{suffix}").read_bytes() == path.read_bytes()


def test_peaks_are_clipped_not_wrapped(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, torch.tensor([[1.0, 1.5, -1.0, -3.0, 0.999]]), 16000)
    top = 1 - 2.0**-15
    np.testing.assert_allclose(read_audio(path).samples[0], [top, top, -1, -1, 0.999], atol=2**-16)


def test_a_long_vorbis_file_is_written_in_chunks(tmp_path):
    write_audio(tmp_path / "a.ogg", 0.1 * noise(1, 2_000_000), 48000)
    assert read_audio(tmp_path / "a.ogg", offset_seconds=40).samples.shape == (1, 80_000)


def test_half_precision_and_gradients_are_accepted(tmp_path):
    write_audio(tmp_path / "a.flac", torch.full((1, 10), 0.5, dtype=torch.bfloat16, requires_grad=True), 16000)
    assert torch.equal(read_audio(tmp_path / "a.flac").samples, torch.full((1, 10), 0.5))


@pytest.mark.parametrize(
    ("name", "samples", "rate", "message"),
    [
        ("a.m4a", noise(), 16000, r"the suffix is '\.m4a', allowed are \.wav, \.flac, \.ogg, \.opus, \.mp3"),
        ("a", noise(), 16000, "the suffix is ''"),
        ("a.wav", noise()[0], 16000, r"samples have shape \(5000,\), expected \(channels, samples\)"),
        ("a.wav", torch.zeros(1, 0), 16000, r"samples have shape \(1, 0\)"),
        ("a.wav", torch.zeros(1, 9, dtype=torch.int16), 16000, r"samples are torch\.int16, expected floating point"),
        ("a.wav", torch.tensor([[0.0, float("nan")]]), 16000, "samples hold NaN"),
        ("a.opus", noise(), 44100, r"a\.opus at 44100 Hz with 1 channels: .*8000, 12000, 16000, 24000, and 48000"),
        ("a.mp3", noise(), 96000, r"a\.mp3 at 96000 Hz"),
        ("a.flac", noise(9), 16000, r"a\.flac at 16000 Hz with 9 channels"),
    ],
)
def test_bad_requests_leave_no_file(tmp_path, name, samples, rate, message):
    with pytest.raises(ValueError, match=message):
        write_audio(tmp_path / name, samples, rate)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.opus"
    write_audio(path, noise(), 16000)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="cannot write"):
        write_audio(path, noise(), 44100)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
        write_audio(tmp_path / "nowhere/a.wav", noise(), 16000)
    with pytest.raises(ValueError, match="bits is 8, allowed are 16 and 24"):
        write_audio(tmp_path / "a.wav", noise(), 16000, bits=8)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_blocks_make_the_file_of_the_whole(tmp_path, suffix):
    samples = noise(2, 70_000)
    with AudioWriter(tmp_path / f"a{suffix}", 16000, channels=2) as writer:
        for block in samples.split(7777, dim=-1):
            writer.write(block)
        assert not (tmp_path / f"a{suffix}").exists()
    write_audio(tmp_path / f"b{suffix}", samples, 16000)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    blocks = [noise(), float("nan") * noise()]
    with pytest.raises(ValueError, match="samples hold NaN"), AudioWriter(tmp_path / "a.ogg", 16000, 1) as writer:
        list(map(writer.write, blocks))
    with pytest.raises(ValueError, match="a.wav: there are no samples"), AudioWriter(tmp_path / "a.wav", 16000, 1):
        pass
    with (
        pytest.raises(ValueError, match="a block has 2 channels, not 1"),
        AudioWriter(tmp_path / "a.wav", 16000, 1) as writer,
    ):
        writer.write(noise(2))
    assert not list(tmp_path.iterdir())


def test_a_wav_file_ends_at_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("vqkit.data.audio.writer._MOST_WAV_BYTES", 20_000)
    with pytest.raises(ValueError, match="a WAV file ends at 4 GiB; .flac goes on"):
        write_audio(tmp_path / "a.wav", noise(1, 10_001), 16000)
    write_audio(tmp_path / "a.wav", noise(1, 10_000), 16000)
    write_audio(tmp_path / "a.flac", noise(1, 10_001), 16000)


@contextmanager
def largest_file(size):
    """A disk on which no file can be larger: the system refuses the bytes beyond, as it does on a full one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
def test_a_disk_that_is_full_at_the_last_block_is_an_error(tmp_path, suffix):
    """libsndfile says nothing of the blocks that a codec writes when the file is closed."""
    path = tmp_path / f"a{suffix}"
    write_audio(path, noise(1, 48_000), 16000)
    before, size = path.read_bytes(), path.stat().st_size
    for missing in (1, 1000, 5000):
        with (
            largest_file(size - missing),
            pytest.raises(ValueError, match=rf"cannot write .*a\{suffix}: File too large"),
        ):
            write_audio(path, noise(1, 48_000), 16000)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_is_not_swallowed_by_libsndfile(tmp_path):
    class Stop(BaseException):
        pass

    def stop(*_):
        raise Stop

    def write():
        with AudioWriter(tmp_path / "a.ogg", 16000, 1) as writer:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            writer.write(block)

    block = noise(1, 2_000_000)  # a second's work
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Stop):
            write()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not list(tmp_path.iterdir())


def test_without_overwrite_a_file_that_appears_meanwhile_stays(tmp_path):
    path = tmp_path / "a.wav"
    with AudioWriter(path, 16000, 1, overwrite=False) as writer:
        writer.write(noise())
    with pytest.raises(FileExistsError, match=r"a\.wav"):
        AudioWriter(path, 16000, 1, overwrite=False)
    path.unlink()
    writer = AudioWriter(path, 16000, 1, overwrite=False)
    writer.write(noise())
    path.write_text("other")
    with pytest.raises(FileExistsError, match=r"a\.wav"):
        writer.close()
    assert path.read_text() == "other"
    assert list(tmp_path.iterdir()) == [path]
