"""Frames with a stage more or less: the cheapest for the bits, where it is heard, and files that are what they say."""

import io
import itertools

import pytest
import soundfile
import torch

from vqkit import PVQ, RVQ, VQ
from vqkit.bitstream import VqkReader, inspect
from vqkit.cli import main
from vqkit.coding.audio.encode import encode_file
from vqkit.coding.rate import Rate
from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.evaluate.codecs.saved import rate_in_use
from vqkit.losses import LoudnessDisturbance, LowWave
from vqkit.models import AudioCodec, SpectralCodec
from vqkit.models.audio.refinement import LatentRefinement
from vqkit.models.audio.stage_choice import StageChoice, cheapest

SHIPPED_BITS = 10


@pytest.fixture(scope="module")
def codec() -> SpectralCodec:
    return AudioCodec.from_pretrained()


@pytest.fixture(scope="module")
def speech() -> torch.Tensor:
    clips = list(list_clips(sample_folder(), "test", "speech"))[:3]
    return torch.cat([read_audio(clip.path, 16000, 1).samples for clip in clips], dim=-1)[:, :120000]  # two segments


def test_no_other_choice_of_as_few_bits_costs_less():
    torch.manual_seed(0)
    bits = torch.tensor([1.0, 2.0, 4.0])
    for _ in range(50):
        costs = torch.rand(5, 3).cumsum(dim=1).flip(1)
        most = float(torch.empty(()).uniform_(1, 4))
        chosen = cheapest(costs, bits, most)
        own_bits, own = bits[chosen].mean().item(), costs[range(5), chosen].sum().item()
        assert own_bits <= most
        for other in itertools.product(range(3), repeat=5):
            if bits[list(other)].mean() <= own_bits:
                assert costs[range(5), list(other)].sum() >= own - 1e-5


def test_what_takes_too_many_bits_gets_the_fewest_and_silence_is_no_trouble():
    bits = torch.tensor([3.0, 4.0])
    assert cheapest(torch.rand(4, 2), bits, 2.0).tolist() == [0] * 4
    assert cheapest(torch.zeros(4, 2), bits, 9.0).tolist() == [0] * 4
    assert cheapest(torch.tensor([[2.0, 1.0]]), bits, 4.0).tolist() == [1]


def test_frames_that_are_heard_get_more():
    torch.manual_seed(0)
    quantizer = RVQ(8, 32, 4).fit(torch.randn(2000, 8)).eval()
    choice = StageChoice(quantizer, bits=12)
    assert (choice.least, choice.usual, choice.most) == (1, 2, 3)
    latent = torch.randn(1, 100, 8)
    gradient = torch.randn(1, 100, 8) * torch.where(torch.arange(100) < 50, 9.0, 1.0)[:, None]
    codes = quantizer.encode(latent, stages=3)
    stages = choice.choose(latent, codes, gradient)
    assert stages[0, :50].float().mean() > stages[0, 50:].float().mean() + 0.5
    assert 5 * stages.float().mean() <= 12 - 1.6
    kept = choice.kept(codes, stages)
    assert torch.equal((kept >= 0).sum(dim=-1), stages)
    assert torch.equal(kept[kept >= 0], codes[kept >= 0])
    assert torch.equal(choice.kept(codes)[..., :2], codes[..., :2])
    assert choice.kept(codes)[..., 2].eq(-1).all()


def test_there_is_no_choice_where_nothing_can_be_given_or_taken():
    def at(quantizer, kbps):
        return StageChoice.at_rate(SpectralCodec(quantizer, encoder_width=16, decoder_width=16).eval(), kbps)

    rvq = RVQ(16, 64, 4)  # 0.3 kbit/s a stage
    assert at(rvq, 0.6) is not None
    assert at(rvq, 1.2) is None  # all fit
    assert at(rvq, 0.3) is None  # one, and its number would not fit
    assert (choice := at(rvq, 0.5)) is not None
    assert (choice.least, choice.usual, choice.most) == (1, 1, 2)
    assert at(VQ(16, 64), 0.3) is None
    assert at(PVQ(16, 64, 4), 0.6) is None  # files cannot count stages of pieces


@pytest.mark.parametrize("kbps", [1.5, 2.8, 3.0])
def test_files_keep_to_the_rate_and_are_nearer_for_the_ear(codec, speech, kbps):
    fixed = LatentRefinement(codec, codec.stages_within(kbps), codec.refine_steps, codec.level_rounds).whole(speech)
    data = codec.compress(speech, 16000, kbps)
    codes = VqkReader(io.BytesIO(data), entropy_model=codec.prior).read()
    stages = (codes >= 0).sum(dim=1)
    usual = codec.stages_within(kbps)
    assert {*stages.tolist()} == {usual - 1, usual, usual + 1}
    assert SHIPPED_BITS * stages.float().mean() * codec.frame_rate <= 1000 * kbps
    found = inspect(io.BytesIO(data))
    written = sum(found["stage_bytes"]) + found["count_bytes"]
    assert 8 * written / (speech.shape[-1] / 16000) <= 1000 * kbps
    ours, theirs = codec.decompress(data)[0], codec.decode(fixed.T[None], speech.shape[-1])[0]
    loudness, wave = (
        [distance(made[None], speech[None]).item() for made in (ours, theirs)]
        for distance in (LoudnessDisturbance(16000), LowWave(16000))
    )
    assert loudness[0] + 4 * wave[0] < 0.99 * (loudness[1] + 4 * wave[1])  # as the search weighs them


def test_blocks_and_files_have_what_the_whole_has(codec, speech, tmp_path):
    refinement = LatentRefinement(codec, 6, 1, 1, kbps=3.0)
    assert refinement.stages == 7
    assert refinement.variable_stages
    whole = refinement.whole(speech)
    blocks = list(LatentRefinement(codec, 6, 1, 1, kbps=3.0).through(speech.split(17003, dim=-1)))
    assert torch.equal(torch.cat(blocks), whole)
    data = codec.compress(speech, 16000, 3.0, refine_steps=1)
    assert torch.equal(VqkReader(io.BytesIO(data), entropy_model=codec.prior).read(), whole)
    soundfile.write(tmp_path / "a.wav", speech[0].numpy(), 16000, subtype="FLOAT")
    coded = encode_file(codec, tmp_path / "a.wav", tmp_path / "a.vqk", Rate(kbps=3.0), refine_steps=1)
    assert (tmp_path / "a.vqk").read_bytes() == data
    assert coded.stages == 7


def test_other_ways_to_choose_stages_stay_as_they_are(codec, speech):
    """Without a prior numbers of stages are dear; and who names stages or λ gets these."""
    wav = speech[:, :16000]
    plain = VqkReader(io.BytesIO(codec.compress(wav, 16000, 3.0, plain=True, refine_steps=1))).read()
    assert torch.equal(plain, LatentRefinement(codec, 6, 1, codec.level_rounds).whole(wav))
    by_price = LatentRefinement(codec, 6, 1, 1, rate_weight=0.1, kbps=3.0)
    assert by_price.stages == 6
    assert torch.equal(by_price.whole(wav), LatentRefinement(codec, 6, 1, 1, rate_weight=0.1).whole(wav))
    assert not LatentRefinement(codec, 6, 0, 1, kbps=3.0).variable_stages


def test_the_command_says_how_many(codec, speech, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", speech[0, :16000].numpy(), 16000)
    assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / "a.vqk"), "--kbps", "3"]) == 0
    assert "up to 7 stages" in capsys.readouterr().out


def test_comparisons_leave_out_only_rates_that_give_the_same_file(codec, monkeypatch):
    assert [rate_in_use(codec, kbps) for kbps in (3.0, 3.2, 6.0, 7.0)] == [3.0, 3.2, 6.0, 6.0]
    monkeypatch.setattr(codec, "refine_steps", 0)
    assert rate_in_use(codec, 3.2) == 3.0
    with pytest.raises(ValueError, match="below the first stage"):
        rate_in_use(codec, 0.1)
