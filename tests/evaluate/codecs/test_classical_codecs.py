import math

import numpy as np
import pytest
import torch

from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.evaluate.codecs import MP3, Codec2, Opus, Original

RATE = 16000
needs_codec2 = pytest.mark.skipif(
    not Codec2.installed(), reason="c2enc and c2dec are not installed (apt install codec2)"
)


@pytest.fixture(scope="module")
def speech():
    clip = next(clip for clip in list_clips(sample_folder(), "test", "speech") if clip.seconds > 2.5)
    return read_audio(clip.path, RATE, channels=1).samples[:, :40002]


def lag(reference, estimate):
    """Samples by which the estimate is late, from the cross-correlation."""
    one, other = (wav[0].double().numpy() for wav in (reference, estimate))
    size = 2 * len(one)
    correlation = np.fft.irfft(np.fft.rfft(other, size) * np.conj(np.fft.rfft(one, size)), size)
    found = int(np.argmax(correlation))
    return found if found < len(one) else found - size


@pytest.mark.parametrize("system", [Opus(24), Opus(64), MP3(8), MP3(32), MP3(64)], ids=lambda s: s.name)
def test_nothing_of_the_delay_is_left(system, speech):
    coded = system.code(speech, RATE)
    assert coded.wav.shape == speech.shape
    assert lag(speech, coded.wav) == 0


@pytest.mark.parametrize("kbps", [6, 8, 12])
def test_opus_at_low_rates_is_as_late_as_its_filters(kbps, speech):
    assert 0 <= lag(speech, Opus(kbps).code(speech, RATE).wav) <= 3  # 0.2 ms


@pytest.mark.parametrize("system", [Opus(24), MP3(32)], ids=lambda s: s.name)
@pytest.mark.parametrize("rate", [8000, 22050, 24000, 44100])
def test_other_sample_rates_are_aligned_too(system, rate):
    clip = next(clip for clip in list_clips(sample_folder(), "test", "speech") if clip.seconds > 2.5)
    wav = read_audio(clip.path, rate, channels=1, seconds=2).samples
    coded = system.code(wav, rate)
    assert coded.wav.shape == wav.shape
    assert abs(lag(wav, coded.wav)) <= 1  # 22.05 and 44.1 kHz go through another rate


def test_opus_spends_about_what_it_is_asked_for(speech):
    seconds = speech.shape[1] / RATE
    sizes = [Opus(kbps).code(speech, RATE).packet_bytes * 8 / seconds / 1000 for kbps in (6, 12, 24)]
    assert sizes == pytest.approx([6, 12, 24], rel=0.2)


def test_the_file_has_the_container_too(speech):
    coded = Opus(12).code(speech, RATE)
    packets = math.ceil((speech.shape[1] + 104) / 320)  # 20 ms, 6.5 ms of pre-skip
    pages = 2 + 3  # two of headers; FFmpeg writes one a second
    least = 19 + 16 + packets + pages * 27  # OpusHead, OpusTags, a lacing value a packet, page headers
    assert least <= coded.file_bytes - coded.packet_bytes <= least + 200


@pytest.mark.parametrize("kbps", [8, 16, 32])
def test_mp3_spends_whole_frames_of_a_constant_size(kbps, speech):
    coded = MP3(kbps).code(speech, RATE)
    frame_bytes = 72 * kbps * 1000 // RATE  # MPEG-2, layer III: 576 samples a frame
    frames, rest = divmod(coded.packet_bytes, frame_bytes)
    assert rest == 0
    assert 0 <= frames - math.ceil(speech.shape[1] / 576) <= 4
    assert coded.file_bytes > coded.packet_bytes


def test_the_same_bytes_each_time(speech):
    for system in (Opus(8), MP3(16)):
        one, other = system.code(speech, RATE), system.code(speech, RATE)
        assert torch.equal(one.wav, other.wav)
        assert (one.packet_bytes, one.file_bytes) == (other.packet_bytes, other.file_bytes)


def test_more_bits_are_closer(speech):
    errors = [(MP3(kbps).code(speech, RATE).wav - speech).square().mean() for kbps in (16, 32, 64)]
    assert errors[0] > errors[1] > errors[2]


@needs_codec2
@pytest.mark.parametrize("kbps", [3.2, 2.4, 1.6, 1.2, 0.7])
def test_codec2_keeps_the_envelope_in_its_place(kbps):
    """Codec2 makes up the phases, so a voice's swell at 3 Hz tells the delay, not the cross-correlation."""
    time = torch.arange(6 * RATE) / RATE
    swell = 0.55 + 0.45 * torch.cos(2 * math.pi * 3 * time)
    voice = sum(torch.sin(2 * math.pi * 100 * k * time + k * k) / k for k in range(1, 36))
    wav = (0.1 * swell * voice)[None]
    middle = slice(RATE, 5 * RATE)  # whole periods

    def phase(x):
        power = torch.nn.functional.avg_pool1d(x[None].square(), 321, stride=1, padding=160)[0, 0]
        wave = torch.exp(-2j * math.pi * 3 * time)
        return float(torch.angle((power.sqrt() * wave)[middle].sum()))

    late = (phase(wav) - phase(Codec2(kbps).code(wav, RATE).wav)) / (2 * math.pi * 3)
    assert abs(late) < (0.001 if kbps in (3.2, 1.6, 0.7) else 0.004)  # 25 ms and more if it were left in


@needs_codec2
@pytest.mark.parametrize(("kbps", "frame_seconds", "frame_bytes"), [(3.2, 0.02, 8), (1.2, 0.04, 6), (0.7, 0.04, 4)])
def test_codec2_spends_whole_frames(kbps, frame_seconds, frame_bytes, speech):
    coded = Codec2(kbps).code(speech, RATE)
    delay_seconds = 0.03 if kbps == 0.7 else 0.02
    frames = math.ceil(round((speech.shape[1] / RATE + delay_seconds) / frame_seconds, 6))
    assert coded.packet_bytes == frames * frame_bytes
    assert coded.file_bytes == coded.packet_bytes + 7
    assert coded.wav.shape == speech.shape


def test_codec2_without_its_programs_names_the_package(monkeypatch, speech, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not Codec2.installed()
    with pytest.raises(ImportError, match="apt install codec2"):
        Codec2(3.2).code(speech, RATE)


def test_original_is_16_bits_a_sample(speech):
    coded = Original(RATE).code(speech, RATE)
    assert torch.equal(coded.wav, speech)
    assert coded.packet_bytes == 2 * speech.shape[1]
    assert Original(RATE).kbps == 256


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Opus(5), "kbps of Opus must be 6 to 256, got 5"),
        (lambda: Opus(12, "music"), "application must be 'voip' or 'audio', got 'music'"),
        (lambda: MP3(12), "kbps of MP3 must be one of 8, 16, 24, .*, got 12"),
        (lambda: MP3(8).code(torch.zeros(1, 100), 44100), "kbps of MP3 above 24 kHz must be one of 32, .*, got 8"),
        (lambda: Codec2(3), "kbps of Codec2 must be one of 3.2, 2.4, 1.6, 1.2, 0.7, got 3"),
        (lambda: Opus(8).code(torch.zeros(2, 100), RATE), r"wav must be mono, \(1, samples\), got shape \(2, 100\)"),
        (lambda: MP3(8).code(torch.zeros(1, 0), RATE), r"wav must be mono, \(1, samples\), got shape \(1, 0\)"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
