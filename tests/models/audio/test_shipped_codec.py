"""The codec that ships: it loads without a name, codes sound at every rate, and is what its card says."""

import copy
import hashlib
import io
import re

import numpy as np
import pytest
import soundfile
import torch

from vqkit.bitstream import VqkReader
from vqkit.cli import main
from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.models import AudioCodec, SpectralCodec
from vqkit.models.identity import weight_hash
from vqkit.models.loading import SHIPPED

HASH = "1bf125b41afa393a66c6eb19cd942c3a4708ad77dd1e93e80e9889526c5a95dc"
# of 0.3 s of a sine of 440 Hz and amplitude 0.3, at 1 kbit/s, by commit cf9f42d
FILE = bytes.fromhex(
    "8956514b015542018008020101020000807dc0020102201bf125b41afa393a66c6eb19cd942c3a4708ad77dd1e93e80e9889"
    "526c5a95dc101ff0cc756e8d21112711d8452f393e7400c125000d537065637472616c436f64656300d005a120f563000f02"
    "1113035b59d5f44a241f4ad4aa001e85dfb2a9367216e9ade8d0e6b144a2a278b2faa6c2b319ab932d609f5f1841f5650fc1"
    "25d7c6f3a2"
)


@pytest.fixture(scope="module")
def codec():
    return AudioCodec.from_pretrained()


def sound(group):
    clip = list_clips(sample_folder(), "test", group)[0]
    return read_audio(clip.path, 16000, 1).samples[:, : 16000 * 5]


def si_sdr_db(estimate, reference):
    scaled = (estimate @ reference) / (reference @ reference) * reference
    return float(10 * (scaled.square().sum() / (estimate - scaled).square().sum()).log10())


def test_it_is_a_codec_in_evaluation_mode(codec):
    assert isinstance(codec, SpectralCodec)
    assert not codec.training
    assert codec.prior is not None
    assert codec.rates_kbps == tuple(pytest.approx(0.5 * stages) for stages in range(1, 13))


@pytest.mark.parametrize(("group", "least_db"), [("speech", (2.0, 4.0, 5.5)), ("music", (0.5, 4.0, 6.0))])
def test_more_bits_are_better(codec, group, least_db):
    wav = sound(group)
    found = []
    for kbps in (1.0, 3.0, 6.0):
        decoded, sample_rate = codec.decompress(codec.compress(wav, 16000, kbps))
        assert (decoded.shape, sample_rate) == (wav.shape, 16000)
        found.append(si_sdr_db(decoded[0], wav[0]))
    assert found == sorted(found)
    assert all(value > least for value, least in zip(found, least_db, strict=True)), found


def test_the_prior_saves_bits(codec):
    wav = sound("speech")
    assert len(codec.compress(wav, 16000, 3.0)) < 0.98 * len(codec.compress(wav, 16000, 3.0, plain=True))


def test_streamed_codes_are_those_of_the_whole(codec):
    wav = sound("speech")[None]
    whole = codec.encode(wav, 3.0)
    with codec.streaming(3.0, block_frames=25) as stream:
        streamed = torch.cat(list(stream.encode_blocks(wav.split(10007, dim=-1))), dim=-1)
    assert (streamed != whole).float().mean() < 0.002  # near-ties that float rounding decides


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_files_written_with_it_decode_for_ever(codec, dtype):
    model = copy.deepcopy(codec).to(dtype)
    assert weight_hash(model) == HASH
    wav, sample_rate = model.decompress(FILE)
    assert (wav.shape, wav.dtype, sample_rate) == ((1, 4800), torch.float32, 16000)
    expected = codec.decompress(FILE)[0]
    assert float(expected.square().mean().sqrt()) == pytest.approx(0.2361, abs=1e-3)
    assert expected[0, 1000:1006].tolist() == pytest.approx(
        [-0.0698, -0.1176, -0.1616, -0.2010, -0.2356, -0.2645], abs=1e-3
    )
    assert si_sdr_db(wav[0], expected[0]) > 30
    assert VqkReader(io.BytesIO(model.compress(sound("speech"), 16000, 0.5))).header.model_hash == HASH


@pytest.mark.parametrize(("dtype", "least_db"), [(torch.float16, 50), (torch.bfloat16, 35)])
def test_half_precision_sounds_as_good(codec, dtype, least_db):
    wav, half = sound("speech"), copy.deepcopy(codec).to(dtype)
    file = codec.compress(wav, 16000, 6.0)
    assert si_sdr_db(half.decompress(file)[0][0], codec.decompress(file)[0][0]) > least_db
    own = codec.decompress(half.compress(wav, 16000, 6.0))[0]
    assert si_sdr_db(own[0], wav[0]) > si_sdr_db(codec.decompress(file)[0][0], wav[0]) - 0.2


def test_the_card_names_these_weights():
    card = (SHIPPED / "MODEL_CARD.md").read_text("utf-8")
    digest = hashlib.sha256((SHIPPED / "model.safetensors").read_bytes()).hexdigest()
    assert digest in card
    assert re.search(r"\| asterisk-core-sounds-en-g722 \| \d+ \| CC-BY-SA-3.0 \|", card)
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 12e6


def test_a_file_of_samples_beyond_all_scale_is_refused_in_one_line(tmp_path, capsys):
    time = np.arange(4000) / 16000
    for peak, code in ((20000, 2), (3, 0)):
        soundfile.write(tmp_path / "a.wav", peak * np.sin(2 * np.pi * 440 * time), 16000, subtype="FLOAT")
        assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / f"{peak}.vqk")]) == code
        assert (tmp_path / f"{peak}.vqk").exists() == (code == 0)
        said = capsys.readouterr().err
        assert code == 0 or ("a.wav: wav reaches" in said and "divide them by their full scale" in said)


def test_the_command_line_uses_it(tmp_path, capsys):
    clip = list_clips(sample_folder(), "test", "speech")[0].path
    assert main(["encode", str(clip), str(tmp_path / "a.vqk"), "--kbps", "1.5"]) == 0
    assert main(["decode", str(tmp_path / "a.vqk"), str(tmp_path / "a.wav")]) == 0
    capsys.readouterr()
    original, decoded = (read_audio(path, 16000, 1).samples for path in (clip, tmp_path / "a.wav"))
    assert decoded.shape == original.shape


def test_models_that_ship_are_loaded_by_name_and_tell_their_files_apart(tmp_path, capsys):
    import soundfile

    from vqkit.bitstream import BitstreamError
    from vqkit.cli import main
    from vqkit.models import AudioCodec

    first, second = AudioCodec.from_pretrained(), AudioCodec.from_pretrained("vqkit-codec-16khz-2")
    wav = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    data = second.compress(wav, 16000, kbps=3)
    assert second.decompress(data)[0].shape == wav.shape
    with pytest.raises(BitstreamError, match="not by the one at hand"):
        first.decompress(data)
    soundfile.write(tmp_path / "a.wav", wav[0].numpy(), 16000)
    name = ["--model", "vqkit-codec-16khz-2"]
    assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / "a.vqk"), *name]) == 0
    assert main(["decode", str(tmp_path / "a.vqk"), str(tmp_path / "b.wav"), *name]) == 0
    assert main(["decode", str(tmp_path / "a.vqk"), str(tmp_path / "c.wav")]) == 0  # it finds the model that wrote it
    assert (tmp_path / "c.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    (tmp_path / "old.vqk").write_bytes(FILE)
    assert main(["decode", str(tmp_path / "old.vqk"), str(tmp_path / "d.wav"), *name]) == 2
    assert "give --model vqkit-codec-16khz" in capsys.readouterr().err
