"""The codec that ships: it loads without a name, codes sound at every rate, and is what its card says."""

import copy
import hashlib
import io
import math
import re

import numpy as np
import pytest
import soundfile
import torch

from vqkit.bitstream import VqkReader
from vqkit.cli import main
from vqkit.data import list_clips, read_audio, sample_folder
from vqkit.losses import MultiScaleMel
from vqkit.models import AudioCodec, SpectralCodec
from vqkit.models.identity import weight_hash
from vqkit.models.loading import SHIPPED

# of 0.3 s of a sine of 440 Hz and amplitude 0.3, at 1 kbit/s; by commits cf9f42d, fad47da, and those of the models after them: the
# weights, the file, the root mean square of what it decodes to, and six of its samples
FILES = {
    "vqkit-codec-16khz": (
        "1bf125b41afa393a66c6eb19cd942c3a4708ad77dd1e93e80e9889526c5a95dc",
        "8956514b015542018008020101020000807dc0020102201bf125b41afa393a66c6eb19cd942c3a4708ad77dd1e93e80e9889"
        "526c5a95dc101ff0cc756e8d21112711d8452f393e7400c125000d537065637472616c436f64656300d005a120f563000f02"
        "1113035b59d5f44a241f4ad4aa001e85dfb2a9367216e9ade8d0e6b144a2a278b2faa6c2b319ab932d609f5f1841f5650fc1"
        "25d7c6f3a2",
        0.2361,
        [-0.0698, -0.1176, -0.1616, -0.2010, -0.2356, -0.2645],
    ),
    "vqkit-codec-16khz-2": (
        "a41517427d56e4e15fe9a92512254c0bdc06ac261ef73352d49a4e156b70a374",
        "8956514b015542018008020101020000807dc002010220a41517427d56e4e15fe9a92512254c0bdc06ac261ef73352d49a4e"
        "156b70a37410bff925ce1debf63db2073b1244fbca2b00c125000d537065637472616c436f64656300b6348cf6f563000f02"
        "1914a8916cce7fa99c9d0cb9d537965e4436a5f196b5e2fd2121970dcd752d34a2b5d1ed663b6ec5509892ce20753d9b6113"
        "b591488676f5650fc125b668faa3",
        0.2259,
        [-0.1506, -0.1834, -0.2106, -0.2315, -0.2455, -0.2522],
    ),
    "vqkit-codec-16khz-3": (
        "a2f641f03495db0d0676b88a7555268560642bd9502777f436db67e4acb0b340",
        "8956514b015542018008020101020000807dc002010220a2f641f03495db0d0676b88a7555268560642bd9502777f436db67"
        "e4acb0b34010805763a9ae5808b5159d5c9c2841f65600c125000d537065637472616c436f64656300e5cd370ef563000f02"
        "1c15eca06c4f7dadceb8ae49eabbf8de5e71dcc50ccde71a9eefd2c1910e60a4bec9aa3b225cb3380ba70a52c0b44686e5cc"
        "e39252a7de5afc44d3f5650fc125c1ad638f",
        0.2809,
        [-0.1124, -0.1809, -0.2440, -0.3000, -0.3469, -0.3835],
    ),
    "vqkit-codec-16khz-4": (
        "7f5d9d4f04032d97c91f5e6c90cd27adbac5b0cdae1cd4552e3e4333442378bb",
        "8956514b015542018008020101020000807dc0020102207f5d9d4f04032d97c91f5e6c90cd27adbac5b0cdae1cd4552e3e43"
        "33442378bb1041f8c6bdb14c80b54c5f05bcc9a95eba00c125000d537065637472616c436f646563001dcf21cbf563000f02"
        "1c1489bf96efb1a2385f949d99fb383d702bc739ea79fe327bc9ea8a928e3f63b6da76d3c9660e60d4e5d505ed6d26dc6f92"
        "9c717d22f011f3cbf5650fc1255108ed7d",
        0.2417,
        [-0.041, -0.094, -0.1446, -0.191, -0.2322, -0.2659],
    ),
    "vqkit-codec-16khz-5": (
        "3c58d173f708d2d33651c0a4fca757a4670d74897cd2641e77fcf8ff3941d953",
        "8956514b015542018008020101020000807dc0020102203c58d173f708d2d33651c0a4fca757a4670d74897cd2641e77fcf8"
        "ff3941d95310af27a4e0a3d2ccadcb941944f2d1f76700c125000d537065637472616c436f64656300ac075fcaf563000f02"
        "1e14c3e988dfb439defb8a24a950804a2edfab86f4d95ac589393f6caa7ddb5003e2ba47767ea2e9fbf08124e7225282d24b"
        "dbaf88848ffbac6899cef5650fc1257cbe7305",
        0.1850,
        [0.0072, -0.0442, -0.0945, -0.1418, -0.1852, -0.2224],
    ),
    "vqkit-codec-16khz-6": (
        "e65faa41dc83cc288d92303605fc28298f44289cf9edf5320ffb5fcb05de21bb",
        "8956514b035643018008030101030000807dc002010220e65faa41dc83cc288d92303605fc28298f44289cf9edf5320ffb5f"
        "cb05de21bb101fb61e40678d2a7bdb2c8481972d44c50001c125000d537065637472616c436f646563004ca2a1c1f563000f"
        "02031a1097713fb37e96a2b2485160be6d11cc24f6615c7bcb9659d143a259863a9325937e75c22a657b65c39f86fc7e155f"
        "58104c17469e30f5650fc12500e7cfbb",
        0.2050,
        [0.0487, -0.0048, -0.0579, -0.1093, -0.1575, -0.2002],
    ),
    "vqkit-codec-16khz-7": (
        "6e9a694f6bdd273d56d27879aeb62bbe898a63e49f1230e4469427f271f016a6",
        "8956514b035643018008030101030000807dc0020102206e9a694f6bdd273d56d27879aeb62bbe898a63e49f1230e4469427"
        "f271f016a6101fb61e40678d2a7bdb2c8481972d44c50001c125000d537065637472616c436f64656300e0ca0f15f563000f"
        "02031a105d401abb7e96a2b2485160be6d11cc24f6615c7bcb9659d143a259863a9325937e75c22a657b65c39f86fc7e155f"
        "58104caa969ee4f5650fc1257250d961",
        0.2098,
        [0.0453, -0.0105, -0.0657, -0.1191, -0.1690, -0.2133],
    ),
}


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


@pytest.mark.parametrize(("group", "most"), [("speech", (0.35, 0.29, 0.28)), ("music", (0.40, 0.31, 0.28))])
def test_more_bits_are_better(codec, group, most):
    wav, distance = sound(group), MultiScaleMel(16000)
    found = []
    for kbps in (1.0, 3.0, 6.0):
        decoded, sample_rate = codec.decompress(codec.compress(wav, 16000, kbps))
        assert (decoded.shape, sample_rate) == (wav.shape, 16000)
        found.append(float(distance(decoded[None], wav[None])))
    assert found == sorted(found, reverse=True)
    assert all(value < limit for value, limit in zip(found, most, strict=True)), found


def test_the_prior_saves_bits(codec):
    wav = sound("music")
    for listening, share in (({"level_rounds": 0, "refine_steps": 0}, 0.98), ({}, 0.99)):
        size, plain = (len(codec.compress(wav, 16000, 3.0, plain=plain, **listening)) for plain in (False, True))
        assert size < share * plain


def test_streamed_codes_are_those_of_the_whole(codec):
    wav = sound("speech")[None]
    whole = codec.encode(wav, 3.0)
    with codec.streaming(3.0, block_frames=25) as stream:
        streamed = torch.cat(list(stream.encode_blocks(wav.split(10007, dim=-1))), dim=-1)
    assert (streamed != whole).float().mean() < 0.002  # near-ties that float rounding decides


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.float32) for name in FILES]
    + [(SHIPPED.name, dtype) for dtype in (torch.float16, torch.bfloat16, torch.float64)],
)
def test_files_written_with_it_decode_for_ever(name, dtype):
    digest, file, level, samples = FILES[name]
    codec = AudioCodec.from_pretrained(name)
    model = copy.deepcopy(codec).to(dtype)
    assert weight_hash(model) == digest
    wav, sample_rate = model.decompress(bytes.fromhex(file))
    assert (wav.shape, wav.dtype, sample_rate) == ((1, 4800), torch.float32, 16000)
    expected = codec.decompress(bytes.fromhex(file))[0]
    assert float(expected.square().mean().sqrt()) == pytest.approx(level, abs=1e-3)
    assert expected[0, 1000:1006].tolist() == pytest.approx(samples, abs=1e-3)
    assert si_sdr_db(wav[0], expected[0]) > 30
    written = model.compress(sound("speech"), 16000, 0.5, level_rounds=0, refine_steps=0)
    assert VqkReader(io.BytesIO(written)).header.model_hash == digest


@pytest.mark.parametrize("hertz", [137, 440, 900, 1163, 2000, 3511, 4000, 5303, 7000])
def test_pure_tones_come_back_as_loud_as_they_were(codec, hertz):
    wav = 0.3 * (2 * math.pi * hertz * torch.arange(24000) / 16000).sin()[None]
    decoded = codec.decompress(codec.compress(wav, 16000))[0]
    change = decoded[:, 4000:20000].square().mean() / wav[:, 4000:20000].square().mean()
    assert abs(10 * float(change.log10())) < 3  # dB; those of the first model lost 19 to 46 above 700 Hz


def test_silence_stays_silence(codec):
    decoded = codec.decompress(codec.compress(torch.zeros(1, 16000), 16000))[0]
    assert float(decoded.abs().max()) < 1e-4


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
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 12 * 2**20  # 12 MB


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

    first, second = AudioCodec.from_pretrained("vqkit-codec-16khz"), AudioCodec.from_pretrained("vqkit-codec-16khz-2")
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
    (tmp_path / "old.vqk").write_bytes(bytes.fromhex(FILES["vqkit-codec-16khz"][1]))
    assert main(["decode", str(tmp_path / "old.vqk"), str(tmp_path / "d.wav"), *name]) == 2
    assert "give --model vqkit-codec-16khz\n" in capsys.readouterr().err
    assert main(["decode", str(tmp_path / "old.vqk"), str(tmp_path / "d.wav")]) == 0
