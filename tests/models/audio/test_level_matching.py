import io
import math

import numpy as np
import pytest
import soundfile
import torch

from vqkit import RVQ
from vqkit.bitstream import VqkReader
from vqkit.cli import main
from vqkit.models import SpectralCodec
from vqkit.models.audio.level_matching import LevelMatching, match_levels


class Quiet:
    """A codec whose codes are 16-bit samples, and which halves all above 2 kHz: what levels are to be matched is known."""

    sample_rate, hop_samples = 16000, 320

    def __init__(self) -> None:
        self.calls: list[int] = []

    def bitrate_kbps(self, stages=None):
        return 256.0

    def encode(self, wav, kbps=None):
        self.calls.append(wav.shape[-1])
        return (wav * 3000).round().long()

    def decode(self, codes, samples=None):
        spectrum = torch.fft.rfft(codes.float() / 3000)
        hertz = torch.fft.rfftfreq(codes.shape[-1], 1 / self.sample_rate)
        return torch.fft.irfft(spectrum * torch.where(hertz > 2000, 0.5, 1.0), n=codes.shape[-1])[..., :samples]


def tone(hertz: float, seconds: float = 2.0) -> torch.Tensor:
    return 0.3 * (2 * math.pi * hertz * torch.arange(round(16000 * seconds)) / 16000).sin()[None]


def level_db(wav: torch.Tensor, other: torch.Tensor) -> float:
    middle = slice(4000, -4000)
    return float(10 * (wav[..., middle].square().mean() / other[..., middle].square().mean()).log10())


@pytest.mark.parametrize(
    ("hertz", "rounds", "decoded_db"), [(500, 4, 0.0), (4000, 0, -6.02), (4000, 1, -1.81), (4000, 3, -0.16)]
)
def test_each_round_makes_up_for_seven_tenths_of_what_is_missing(hertz, rounds, decoded_db):
    codec, wav = Quiet(), tone(hertz)
    changed = match_levels(codec, wav, rounds=rounds)
    assert changed.shape == wav.shape
    decoded = codec.decode(codec.encode(changed[None]))[0]
    assert level_db(decoded, wav) == pytest.approx(decoded_db, abs=0.15)


def test_what_is_lost_entirely_is_turned_up_by_at_most_18_db():
    codec = Quiet()
    codec.decode = lambda codes, samples=None: torch.zeros(1, 1, samples)
    assert level_db(match_levels(codec, tone(1000), rounds=9), tone(1000)) == pytest.approx(18, abs=0.1)


def test_silence_stays_and_is_not_even_encoded():
    codec = Quiet()
    assert torch.equal(match_levels(codec, torch.zeros(1, 50000)), torch.zeros(1, 50000))
    assert not codec.calls


def test_what_is_far_below_the_loudest_is_left_alone():
    wav = tone(500) + 0.01 * tone(4000)  # 40 dB below; the codec halves it
    changed = match_levels(Quiet(), wav)
    assert level_db(changed - tone(500), 0.01 * tone(4000)) == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize("samples", [1, 319, 40000, 40001, 72000, 100001])
def test_blocks_give_bit_for_bit_what_the_whole_gives(samples):
    wav = 0.2 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    whole = match_levels(Quiet(), wav, rounds=1)
    matching = LevelMatching(Quiet(), rounds=1)
    blocks = list(matching.through(wav.split(7001, dim=-1)))
    assert whole.shape == wav.shape
    assert torch.equal(torch.cat(blocks, dim=-1), whole)


def test_memory_is_that_of_a_segment():
    codec = Quiet()
    match_levels(codec, torch.randn(1, 160000), rounds=2)
    assert max(codec.calls) <= 240 * 320
    assert len(codec.calls) == 2 * 3


def test_only_what_is_loud_within_a_second_and_a_half_hides_what_is_quiet():
    quiet = 0.005 * tone(4000, 4)  # the codec halves it; 46 dB below what follows
    changed = match_levels(Quiet(), torch.cat([quiet, tone(500)], dim=-1))
    far, near = slice(8000, 36000), slice(44000, 60000)  # the loud one begins at 64000, a frame is 320
    share = [
        float((changed[:, part].square().mean() / quiet[:, part].square().mean()).log10() * 10) for part in (far, near)
    ]
    assert share == [pytest.approx(6, abs=0.4), pytest.approx(0, abs=0.1)]


@pytest.fixture(scope="module")
def codec() -> SpectralCodec:
    torch.manual_seed(0)
    made = SpectralCodec(RVQ(16, 64, 4), encoder_width=16, decoder_width=16).eval()
    made.quantizer.fit(made.analyze(0.1 * torch.randn(1, 1, 48000)).flatten(end_dim=-2))
    return made


def test_files_are_those_of_the_matched_sound(codec, tmp_path):
    wav = 0.1 * torch.randn(1, 48000, generator=torch.Generator().manual_seed(1))
    soundfile.write(tmp_path / "a.wav", wav[0].numpy().astype(np.float32), 16000, subtype="FLOAT")
    plain, matched = codec.compress(wav, 16000, 0.6), codec.compress(wav, 16000, 0.6, level_rounds=2)

    def codes(file):
        return VqkReader(io.BytesIO(file)).read()

    assert torch.equal(codes(plain), codec.encode(wav[None], 0.6)[0].T)
    assert torch.equal(codes(matched), codec.encode(match_levels(codec, wav, 2, 2)[None], 0.6)[0].T)
    assert not torch.equal(codes(plain), codes(matched))
    codec.save_pretrained(tmp_path / "codec")
    words = [str(tmp_path / "a.wav"), str(tmp_path / "a.vqk"), "--model", str(tmp_path / "codec"), "--kbps", "0.6"]
    for rounds, expected in (("2", matched), ("0", plain)):
        assert main(["encode", *words, "-f", "--quiet", "--level-rounds", rounds]) == 0
        assert torch.equal(codes((tmp_path / "a.vqk").read_bytes()), codes(expected))


def test_a_codec_names_its_own_rounds_and_keeps_them(codec, tmp_path):
    torch.manual_seed(0)
    own = SpectralCodec(RVQ(16, 64, 4), encoder_width=16, decoder_width=16, level_rounds=2).eval()
    own.load_state_dict(codec.state_dict())
    own.save_pretrained(tmp_path)
    again = SpectralCodec.from_pretrained(tmp_path)
    wav = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(1))
    assert again.level_rounds == 2
    assert again.compress(wav, 16000) == codec.compress(wav, 16000, level_rounds=2) != codec.compress(wav, 16000)


def test_other_numbers_are_refused(codec, tmp_path, capsys):
    with pytest.raises(ValueError, match="level_rounds must be an integer in 0 … 16, got -1"):
        codec.compress(torch.zeros(1, 16000), 16000, level_rounds=-1)
    for wrong in (-2, 17, 1.5, True):
        with pytest.raises(ValueError, match=f"level_rounds must be an integer in 0 … 16, got {wrong}"):
            SpectralCodec(RVQ(16, 64, 4), level_rounds=wrong)
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / "a.vqk"), "--level-rounds", "-1"]) == 2
    assert "--level-rounds is -1, it must be in 0 … 16" in capsys.readouterr().err
