"""All of a sound, to its real end, at its right speed, or a named loss: the same for every format, by path and by pipe."""

import io
import struct
import warnings

import av
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from vqkit.data import AudioBlocks, list_clips, read_audio

RATE = 24000


class Pipe(io.BytesIO):
    def seekable(self):
        return False

    def seek(self, *_):
        raise io.UnsupportedOperation


def tone(hz: float, seconds: float = 1.0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """(samples, channels), the channels of one loudness."""
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([0.4 * np.sin(2 * np.pi * hz * (1 + c) * time) for c in range(channels)], axis=1).astype(np.float32)


def by_ffmpeg(path, samples: np.ndarray, codec: str, rate: int, form: str | None = None, tracks: int = 1) -> bytes:
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    with av.open(str(path), "w", format=form) as container:
        for stream in [container.add_stream(codec, rate=rate, layout=layout) for _ in range(tracks)]:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            context = stream.codec_context
            resampler = av.AudioResampler(
                format=context.format, layout=layout, rate=rate, frame_size=context.frame_size or 1024
            )
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
    return path.read_bytes()


FFMPEG = {"mp3": "libmp3lame", "aac": "aac", "m4a": "aac", "mka": "flac", "webm": "libopus", "ts": "aac"}
SOUNDFILE = {
    "wav": ("WAV", "PCM_16"), "aiff": ("AIFF", "PCM_16"), "w64": ("W64", "PCM_16"), "caf": ("CAF", "PCM_16"),
    "rf64": ("RF64", "PCM_16"), "au": ("AU", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}  # fmt: skip
EXACT = ("wav", "aiff", "w64", "caf", "rf64", "au", "flac", "mka")


def made(folder, form: str, samples: np.ndarray, rate: int = RATE) -> bytes:
    path = folder / f"made.{form}"
    if form in FFMPEG:
        return by_ffmpeg(path, samples, FFMPEG[form], rate, {"aac": "adts", "ts": "mpegts"}.get(form))
    kind, subtype = SOUNDFILE[form]
    soundfile.write(path, samples, rate, subtype, format=kind)
    return path.read_bytes()


def by_path(path):
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        return read_audio(path)


def by_pipe(data: bytes) -> tuple[Tensor, tuple[str, ...], tuple[str, ...]]:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        with AudioBlocks(Pipe(data)) as source:
            return torch.cat(list(source), dim=-1), source.warnings, source.notes


def pitch(samples: Tensor, rate: int) -> float:
    """The loudest frequency of the first channel, in Hz."""
    power = torch.fft.rfft(samples[0] * torch.hann_window(samples.shape[-1])).abs()
    return float(power.argmax()) * rate / samples.shape[-1]


@pytest.mark.parametrize("form", [*SOUNDFILE, *FFMPEG])
def test_joined_streams_are_read_to_the_last_one(tmp_path, form):
    rate = 48000 if form in ("webm", "opus") else RATE
    parts = [made(tmp_path, form, tone(hz, rate=rate), rate) for hz in (400, 1000, 2500)]
    path = tmp_path / f"joined.{form}"
    path.write_bytes(b"".join(parts))
    wave = by_path(path)
    piped, _, _ = by_pipe(b"".join(parts))
    assert torch.equal(wave.samples, piped)
    assert wave.samples.shape[1] == pytest.approx(3 * rate, abs=0 if form in EXACT else 3 * 2048)
    for second, hz in enumerate((400, 1000, 2500)):
        middle = wave.samples[:, round((second + 0.3) * rate) : round((second + 0.7) * rate)]
        assert pitch(middle, rate) == pytest.approx(hz, abs=5)
    assert wave.warnings == ()


@pytest.mark.parametrize("form", ["flac", "mp3", "aac", "wav"])
@pytest.mark.parametrize(("rate", "channels"), [(48000, 1), (RATE, 2), (48000, 2)])
def test_a_rate_or_layout_that_changes_on_the_way_keeps_speed_and_is_noted(tmp_path, form, rate, channels):
    first = made(tmp_path, form, tone(400))
    second = made(tmp_path, form, tone(1000, rate=rate, channels=channels), rate)
    path = tmp_path / f"changing.{form}"
    path.write_bytes(first + second)
    wave = by_path(path)
    assert (wave.sample_rate, wave.samples.shape[0]) == (RATE, 1)
    assert wave.samples.shape[1] == pytest.approx(2 * RATE, abs=4 * 1152 if form in FFMPEG else 64)
    assert pitch(wave.samples[:, 6000:18000], RATE) == pytest.approx(400, abs=5)
    late = wave.samples[:, -18000:-6000]
    power = torch.fft.rfft(late[0] * torch.hann_window(12000)).abs()
    assert float(power[495:505].max()) > 0.1 * float(power.max())  # 1000 Hz is where it was
    assert wave.notes
    piped, _, notes = by_pipe(path.read_bytes())
    assert torch.equal(piped, wave.samples)
    assert notes == wave.notes


@pytest.mark.parametrize("form", [*SOUNDFILE, "mp3", "mka", "aac"])
def test_a_file_cut_short_is_named_and_what_is_missing_is_silence_where_its_length_is_known(tmp_path, form):
    rate = 48000 if form == "opus" else RATE
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (3 * rate, 1)).astype(np.float32)
    data = made(tmp_path, form, noise, rate)
    path = tmp_path / f"cut.{form}"
    path.write_bytes(data)
    whole = by_path(path)
    assert whole.warnings == ()
    path.write_bytes(data[: int(0.6 * len(data))])
    cut = by_path(path)
    assert any("cut short" in text for text in cut.warnings), cut.warnings
    there = round(1.2 * rate)
    torch.testing.assert_close(cut.samples[:, :there], whole.samples[:, :there], atol=1e-4, rtol=0)
    if form in EXACT:
        assert cut.samples.shape == whole.samples.shape
    if cut.samples.shape == whole.samples.shape:  # MP3 may state its length, too
        assert not cut.samples[:, round(2.4 * rate) :].any()
    else:
        assert cut.samples.shape[1] < whole.samples.shape[1]
    with pytest.raises(ValueError, match=rf"cut\.{form} is damaged: "):
        read_audio(path, strict=True)
    piped, said, _ = by_pipe(path.read_bytes())
    assert said
    common = min(piped.shape[1], cut.samples.shape[1])
    assert torch.equal(piped[:, :common], cut.samples[:, :common])


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_header_whose_writer_died_is_read_to_the_end(tmp_path, size):
    data = bytearray(made(tmp_path, "wav", tone(400)))
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", size)
    data[4:8] = struct.pack("<I", size)
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    wave = by_path(path)
    assert wave.samples.shape == (1, RATE)
    assert torch.equal(wave.samples, by_pipe(bytes(data))[0])


@pytest.mark.parametrize("form", ["mp3", "aac"])
def test_a_packet_that_cannot_be_decoded_is_silence_of_its_length_and_counted(tmp_path, form):
    data = bytearray(made(tmp_path, form, tone(400, 3.0)))
    path = tmp_path / f"a.{form}"
    path.write_bytes(data)
    whole = by_path(path)
    middle = len(data) // 2
    data[middle : middle + 700] = bytes(np.random.default_rng(3).integers(0, 255, 700, dtype=np.uint8))
    path.write_bytes(data)
    wave = by_path(path)
    assert abs(wave.samples.shape[1] - whole.samples.shape[1]) <= 3 * 1152
    assert wave.warnings
    for start in (6000, 54000):  # before the damage, and after it
        assert pitch(wave.samples[:, start : start + 9000], RATE) == pytest.approx(400, abs=5)
    with pytest.raises(ValueError, match="is damaged: "):
        read_audio(path, strict=True)


def test_further_sound_tracks_are_a_note(tmp_path):
    by_ffmpeg(tmp_path / "two.mka", tone(400), "flac", RATE, tracks=2)
    wave = by_path(tmp_path / "two.mka")
    assert wave.samples.shape == (1, RATE)
    assert any("track" in note for note in wave.notes), wave.notes
    by_ffmpeg(tmp_path / "one.mka", tone(400), "flac", RATE)
    assert by_path(tmp_path / "one.mka").notes == ()


def test_a_stream_without_a_decoder_is_one_line_and_left_out_of_lists(tmp_path):
    data = bytearray(by_ffmpeg(tmp_path / "a.mka", tone(400), "flac", RATE))
    at = data.index(b"A_FLAC")
    data[at : at + 6] = b"A_NONE"
    (tmp_path / "odd.mka").write_bytes(data)
    (tmp_path / "a.mka").unlink()
    soundfile.write(tmp_path / "good.wav", tone(400), RATE)
    with pytest.raises(ValueError, match=r"odd\.mka .*(no decoder|not audio|cannot)") as error:
        read_audio(tmp_path / "odd.mka")
    assert "\n" not in str(error.value)
    with pytest.warns(UserWarning, match=r"odd\.mka"):
        clips = list_clips(tmp_path)
    assert [clip.name for clip in clips] == ["good.wav"]
