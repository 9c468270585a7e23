import csv
import math

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr
import torch

from vqkit.data import audio_info, read_audio, sample_folder, write_audio
from vqkit.data.audio.file import AudioInfo

RATE = 24000


def chirp(seconds=4.0, rate=RATE, channels=1):
    t = torch.arange(round(seconds * rate)) / rate
    return torch.stack([0.5 * torch.sin(2 * math.pi * (200 * (c + 1) * t + 300 * t * t)) for c in range(channels)])


def snr_db(reference, estimate):
    return 10 * torch.log10(reference.square().sum() / (reference - estimate).square().sum())


def test_headers_agree_with_the_shipped_manifest():
    with (sample_folder() / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["group"] != "images"]
    assert len(rows) > 40
    for row in rows:
        info = audio_info(sample_folder() / row["path"])
        assert (info.sample_rate, info.channels) == (int(row["sample_rate"]), int(row["channels"]))
        assert info.seconds == pytest.approx(float(row["duration"]), abs=1.1e-3)


def test_reads_what_soundfile_reads():
    path = sample_folder() / "music/stereo/test/freedoom_countd.flac"
    expected, rate = soundfile.read(path, dtype="float32")
    wave = read_audio(path)
    assert wave.sample_rate == rate
    assert wave.seconds == 2.0
    assert wave.samples.dtype == torch.float32
    assert torch.equal(wave.samples, torch.from_numpy(expected.T))


@pytest.mark.parametrize(
    ("suffix", "least_snr_db"), [(".wav", 80), (".flac", 80), (".ogg", 20), (".opus", 10), (".mp3", 15)]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_written_format_is_read_back(tmp_path, suffix, least_snr_db, channels):
    samples = chirp(channels=channels)
    path = tmp_path / f"a{suffix}"
    write_audio(path, samples, RATE)
    wave = read_audio(path)
    assert audio_info(path) == AudioInfo(RATE, channels, 4.0)
    assert wave.samples.shape == samples.shape
    assert snr_db(samples, wave.samples) > least_snr_db


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [(".wav", 0), (".flac", 0), (".ogg", 0), (".mp3", 0), (".opus", 2e-3)]
)
@pytest.mark.parametrize(
    ("offset", "seconds"), [(0.0, 0.5), (0.7, 0.25), (3.1, None), (3.5, 9.0)]
)  # a Vorbis seek to 3.5 s would miss
def test_a_part_equals_the_same_part_of_the_whole(tmp_path, suffix, tolerance, offset, seconds):
    path = tmp_path / f"a{suffix}"
    write_audio(path, chirp(), RATE)
    whole = read_audio(path).samples
    part = read_audio(path, offset_seconds=offset, seconds=seconds).samples
    start = round(offset * RATE)
    expected = whole[:, start:] if seconds is None else whole[:, start : start + round(seconds * RATE)]
    torch.testing.assert_close(part, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_resampling_keeps_duration_and_content(tmp_path, rate):
    path = tmp_path / "a.wav"
    t = torch.arange(2 * RATE) / RATE
    write_audio(path, (0.5 * torch.sin(2 * math.pi * 1000 * t))[None], RATE, bits=24)
    native = read_audio(path).samples[0].numpy()
    wave = read_audio(path, sample_rate=rate)
    assert wave.sample_rate == rate
    assert wave.samples.shape == (1, 2 * rate)
    np.testing.assert_array_equal(wave.samples[0].numpy(), soxr.resample(native, RATE, rate, quality="VHQ"))
    spectrum = torch.fft.rfft(wave.samples[0]).abs()
    assert int(spectrum.argmax()) == 2000  # bins of half a Hz
    common = math.gcd(rate, RATE)
    reference = scipy.signal.resample_poly(native.astype(np.float64), rate // common, RATE // common)
    middle = slice(rate // 4, -rate // 4)
    np.testing.assert_allclose(wave.samples[0].numpy()[middle], reference[middle], atol=2e-3)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 24001])
def test_a_resampled_part_equals_the_part_of_the_resampled_whole(tmp_path, rate):
    path = tmp_path / "a.wav"
    write_audio(path, torch.rand(1, 3 * RATE, generator=torch.Generator().manual_seed(0)) - 0.5, RATE)
    whole = read_audio(path, rate).samples
    for start, count in ((0, rate // 2), (rate + 7, 1000), (2 * rate + 1, 5 * rate)):
        part = read_audio(path, rate, offset_seconds=start / rate, seconds=count / rate).samples
        torch.testing.assert_close(part, whole[:, start : start + count], atol=1e-6, rtol=0)


def test_channels(tmp_path):
    stereo, mono = tmp_path / "stereo.wav", tmp_path / "mono.wav"
    write_audio(stereo, chirp(0.1, channels=2), RATE)
    write_audio(mono, chirp(0.1), RATE)
    both = read_audio(stereo).samples
    torch.testing.assert_close(read_audio(stereo, channels=1).samples, both.mean(0, keepdim=True))
    assert torch.equal(read_audio(mono, channels=2).samples, read_audio(mono).samples.expand(2, -1))
    assert torch.equal(read_audio(stereo, channels=2).samples, both)
    with pytest.raises(ValueError, match=r"stereo.wav has 2 channels and cannot become 3; allowed: 1, 2$"):
        read_audio(stereo, channels=3)
    with pytest.raises(ValueError, match=r"mono.wav has 1 channel and cannot become 6; allowed: 1, 2$"):
        read_audio(mono, channels=6)


def test_six_channels_mix_down_to_one_only(tmp_path):
    path = tmp_path / "six.wav"
    soundfile.write(path, np.full((100, 6), 0.25), RATE)
    torch.testing.assert_close(read_audio(path, channels=1).samples, torch.full((1, 100), 0.25))
    with pytest.raises(ValueError, match="has 6 channels and cannot become 2"):
        read_audio(path, channels=2)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"])
def test_random_bytes_and_empty_files_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(b"\x01" + np.random.default_rng(0).bytes(3000))
    with pytest.raises(ValueError, match=rf"noise{suffix} is not audio that soundfile or PyAV can read"):
        read_audio(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=rf"noise{suffix} is empty"):
        audio_info(path)


def test_other_bad_files_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such audio file: .*nothing\.wav"):
        read_audio(tmp_path / "nothing.wav")
    with pytest.raises(ValueError, match="is a folder"):
        read_audio(tmp_path)
    (tmp_path / "a.wav").write_text("not sound at all\n" * 50)
    with pytest.raises(ValueError, match=r"a\.wav"):
        read_audio(tmp_path / "a.wav")
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 1)), RATE)
    for read in (read_audio, audio_info):
        with pytest.raises(ValueError, match=r"none\.wav holds no samples"):
            read(tmp_path / "none.wav")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.1]), RATE, subtype="FLOAT")
    message = r"nan\.wav holds NaN or infinite samples: the first is nan at sample 1 \(0\.000042 s\)$"
    with pytest.raises(ValueError, match=message):
        read_audio(tmp_path / "nan.wav")


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.95])
def test_a_loss_is_a_warning_in_the_result_too_and_with_strict_an_error(tmp_path, kept):
    path = tmp_path / "cut.flac"
    samples = torch.rand(1, RATE, generator=torch.Generator().manual_seed(0)) - 0.5
    write_audio(path, samples, RATE)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.warns(UserWarning, match=r"cut\.flac: .*silence"):
        wave = read_audio(path)
    assert wave.samples.shape == samples.shape
    there = int(kept * 0.9 * RATE) // 4096 * 4096
    torch.testing.assert_close(wave.samples[:, :there], samples[:, :there], atol=2e-5, rtol=0)
    assert not wave.samples[:, round((kept + 0.1) * RATE) :].any()
    assert any("the header promises 1.000 s" in text for text in wave.warnings) or kept > 0.9
    with pytest.raises(ValueError, match=r"cut\.flac is damaged: "):
        read_audio(path, strict=True)
    assert read_audio(path, seconds=0.05, strict=True).samples.shape == (1, 1200)  # the part that is there


def test_values_far_outside_full_scale_are_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.0, -32767.0, 5.0]), RATE, "FLOAT")
    text = "the samples reach 32767, far outside ±1, which is full scale: perhaps integers that were stored as floats"
    with pytest.warns(UserWarning, match=r"a\.wav: the samples reach 32767"):
        assert read_audio(tmp_path / "a.wav").warnings == (text,)
    with pytest.raises(ValueError, match=r"a\.wav is damaged: the samples reach 32767"):
        read_audio(tmp_path / "a.wav", strict=True)
    soundfile.write(tmp_path / "a.wav", np.array([0.0, -4.0, 9.0]), RATE, "FLOAT")  # loud, but no integers
    assert read_audio(tmp_path / "a.wav").samples.tolist() == [[0.0, -4.0, 9.0]]


def test_channels_that_cancel_are_noted(tmp_path):
    tone = np.sin(np.arange(3 * RATE) * 0.05)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, np.where(np.arange(3 * RATE) < RATE, tone, -tone)], 1), RATE)
    wave = read_audio(tmp_path / "a.wav", channels=1)
    text = "the channels cancel each other when they are mixed, in 2.0 s of 3.0 s: one is the other turned over"
    assert (wave.notes, wave.warnings) == ((text,), ())
    assert read_audio(tmp_path / "a.wav").notes == ()
    soundfile.write(tmp_path / "b.wav", np.stack([tone, 0 * tone], 1), RATE)
    assert read_audio(tmp_path / "b.wav", channels=1).notes == ()


def test_arguments_are_checked(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, chirp(0.5), RATE)
    for arguments, message in (
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"offset_seconds": -1.0}, "offset_seconds is -1.0"),
        ({"offset_seconds": math.nan}, "offset_seconds is nan"),
        ({"seconds": 0.0}, "seconds is 0.0"),
        ({"offset_seconds": 0.5}, r"a\.wav ends before offset_seconds=0\.5"),
        ({"offset_seconds": 7.0, "sample_rate": 8000}, r"a\.wav ends before offset_seconds=7\.0"),
    ):
        with pytest.raises(ValueError, match=message):
            read_audio(path, **arguments)
