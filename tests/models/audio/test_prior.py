import io
import warnings

import pytest
import soundfile
import torch
from safetensors.torch import load_file

from vqkit import RVQ
from vqkit.bitstream import BitstreamError, VqkReader, cut, thin
from vqkit.cli import main
from vqkit.data import AudioClips, list_clips, sample_folder
from vqkit.models import AudioCodec, load_codec
from vqkit.models.audio.compression import open_writer
from vqkit.models.identity import weight_hash
from vqkit.models.prior import codes_of, coding_cost, fit_prior
from vqkit.models.vqk_files import open_reader


@pytest.fixture(scope="module")
def speech():
    """A few seconds of each shipped clip of speech."""
    return [*AudioClips(list_clips(sample_folder(), "train", "speech")[:6], 8000, 1, max_seconds=3)]


def small_codec(**options):
    torch.manual_seed(0)
    settings = {"sample_rate": 8000, "num_filters": 4, "strides": (4, 5)} | options
    return AudioCodec(RVQ(12, 32, 4), **settings).eval()


@pytest.fixture(scope="module")
def fitted(speech):
    codec = small_codec()
    codec.initialize(speech[0][None])
    codec.quantizer.fit(torch.cat([codec.analyze(wav[None])[0] for wav in speech]), iterations=3)
    return codec.eval()


@pytest.fixture
def codec(fitted):
    yield fitted
    fitted.prior = None


@pytest.mark.parametrize("coding", ["static", "context", "network"])
def test_a_prior_makes_files_smaller_and_loses_nothing(codec, speech, coding):
    wav = speech[0]
    plain = codec.compress(wav, 8000)
    codec.prior = fit_prior(codec, codes_of(codec, speech), coding, steps=60)
    coded = codec.compress(wav, 8000)
    assert len(coded) < 0.98 * len(plain)
    assert codec.compress(wav, 8000, plain=True) == plain
    for data in (plain, coded):
        back, _ = codec.decompress(data)
        assert torch.equal(back, codec.decode(codec.encode(wav[None]), wav.shape[-1])[0])
    header = VqkReader(io.BytesIO(coded)).header
    assert (header.coding, header.tables_hash, header.model_hash) == (
        coding,
        codec.prior.tables_hash,
        weight_hash(codec),
    )


def test_every_rate_has_its_part_of_the_prior(codec, speech):
    codec.prior = fit_prior(codec, codes_of(codec, speech))
    for kbps in codec.rates_kbps:
        data = codec.compress(speech[1], 8000, kbps)
        back, _ = codec.decompress(data)
        assert torch.equal(back, codec.decode(codec.encode(speech[1][None], kbps), speech[1].shape[-1])[0])
        assert len(data) < len(codec.compress(speech[1], 8000, kbps, plain=True))


def test_files_are_thinned_and_cut_without_the_prior(codec, speech, tmp_path):
    codec.prior = fit_prior(codec, codes_of(codec, speech))
    wav = speech[0]
    (tmp_path / "full.vqk").write_bytes(codec.compress(wav, 8000))
    thin(tmp_path / "full.vqk", tmp_path / "thin.vqk", stages=2)
    back, _ = codec.decompress((tmp_path / "thin.vqk").read_bytes())
    assert torch.equal(back, codec.decode(codec.encode(wav[None], codec.rates_kbps[1]), wav.shape[-1])[0])
    cut(tmp_path / "thin.vqk", tmp_path / "part.vqk", start_frame=400, frames=400)
    codes = open_reader(codec, tmp_path / "part.vqk").read()
    assert torch.equal(codes[:, :2], codec.encode(wav[None], codec.rates_kbps[1])[0].T[400:800])


def test_blocks_are_written_as_the_whole(codec, speech):
    codec.prior = fit_prior(codec, codes_of(codec, speech))
    wav, file = speech[0], io.BytesIO()
    with codec.streaming() as stream, open_writer(codec, file, licence="CC0-1.0", metadata={"title": "a"}) as writer:
        for codes in stream.encode_blocks(wav[None].split(700, dim=-1)):
            writer.write(codes[0].T)
        writer.close(length=wav.shape[-1])
    reader = open_reader(codec, io.BytesIO(file.getvalue()))
    assert (reader.header.licence, dict(reader.header.metadata)) == ("CC0-1.0", {"title": "a"})
    assert torch.equal(reader.read(), codec.encode(wav[None])[0].T)


def test_a_file_of_another_prior_is_refused_in_one_line(codec, speech):
    codes = codes_of(codec, speech)
    codec.prior = fit_prior(codec, codes)
    data, tables = codec.compress(speech[0], 8000), codec.prior.tables_hash
    codec.prior = None
    with pytest.raises(
        BitstreamError, match=f"written with the prior {tables} .context., and this AudioCodec has none"
    ):
        codec.decompress(data)
    codec.prior = fit_prior(codec, codes, "static")
    with pytest.raises(
        BitstreamError, match=f"written with the context tables {tables} of model 'AudioCodec', not with"
    ):
        codec.decompress(data)


def test_the_prior_is_saved_beside_the_weights(codec, speech, tmp_path):
    codec.prior = fit_prior(codec, codes_of(codec, speech))
    codec.save_pretrained(tmp_path / "codec")
    for loaded in (AudioCodec.from_pretrained(tmp_path / "codec"), load_codec(tmp_path / "codec")):
        assert loaded.prior.tables_hash == codec.prior.tables_hash
        assert loaded.compress(speech[0], 8000) == codec.compress(speech[0], 8000)
    assert sorted(load_file(tmp_path / "codec" / "model.safetensors")) == sorted(codec.state_dict())
    (tmp_path / "codec" / "prior.vqe").write_bytes(b"VQKx")
    with pytest.raises(ValueError, match=r"prior.vqe is not a prior: not an entropy model"):
        AudioCodec.from_pretrained(tmp_path / "codec")
    (tmp_path / "codec" / "prior.vqe").write_bytes(codec.prior.first(2).to_bytes())
    with pytest.raises(ValueError, match=r"prior.vqe is for code sizes \(32, 32\), this codec has \(32, 32, 32, 32\)"):
        AudioCodec.from_pretrained(tmp_path / "codec")
    codec.prior = None
    codec.save_pretrained(tmp_path / "codec")
    assert AudioCodec.from_pretrained(tmp_path / "codec").prior is None
    assert not (tmp_path / "codec" / "prior.vqe").exists()


def test_a_saved_codec_knows_its_kind(codec, tmp_path):
    codec.save_pretrained(tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"class": "AudioCodec"', '"class": "Other"'))
    with pytest.raises(ValueError, match="config.json is the config of a Other, not of AudioCodec"):
        AudioCodec.from_folder(tmp_path)
    with pytest.raises(ValueError, match=r"holds a Other; codecs known here: AudioCodec, "):
        load_codec(tmp_path)
    (tmp_path / "config.json").write_text(
        config.replace('"class": "AudioCodec",', "")
    )  # as saved before kinds were named
    assert isinstance(load_codec(tmp_path), AudioCodec)


def test_costs_are_those_of_files(codec, speech):
    codes = codes_of(codec, speech[:1])
    cost = coding_cost(None, codes)
    assert cost.bits_per_code == pytest.approx(5, rel=0.01)  # log2 of 32
    assert cost.codes_rate == pytest.approx(codec.bitrate_kbps(), rel=0.01)
    seconds = len(codes[0].codes) / codec.frame_rate
    assert cost.files_rate == pytest.approx(len(codec.compress(speech[0], 8000)) * 8 / seconds / 1000, rel=0.01)
    prior = fit_prior(codec, codes, "static")
    assert coding_cost(prior, codes).tables_bytes == len(prior.to_bytes())


def test_bad_arguments_are_named(codec, speech):
    with pytest.raises(ValueError, match="coding must be 'static', 'context' or 'network', got 'best'"):
        fit_prior(codec, codes_of(codec, speech[:1]), "best")
    for coding in ("static", "context"):
        with pytest.raises(ValueError, match="there are no codes to fit"):
            fit_prior(codec, [], coding)
    with pytest.raises(ValueError, match="there are no codes to measure"):
        coding_cost(None, [])


def test_command_fits_measures_and_saves(codec, tmp_path, capsys):
    codec.save_pretrained(tmp_path / "codec")
    words = ["fit-prior", str(tmp_path / "codec"), str(sample_folder()), "--minutes", "2", "--classes", "8"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    rows = [line.split("|") for line in shown.splitlines() if line.startswith("| ")]
    assert [row[1].strip() for row in rows] == ["coding", "plain", "static", "context"]
    assert float(rows[1][2]) == pytest.approx(5, rel=0.02)
    assert float(rows[2][2]) < 4.9
    assert float(rows[1][5]) > float(rows[2][5])
    loaded = load_codec(tmp_path / "codec")
    assert loaded.prior is not None
    assert f"prior.vqe: {loaded.prior.coding}, {len(loaded.prior.to_bytes())} bytes" in shown
    assert main([*words, "--coding", "network", "--network-steps", "10"]) == 0
    assert load_codec(tmp_path / "codec").prior.coding == "network"
    assert "| network |" in capsys.readouterr().out


def test_command_holds_out_clips_where_no_split_is_named(codec, tmp_path, capsys):
    codec.save_pretrained(tmp_path / "codec")
    (tmp_path / "sound").mkdir()
    words = ["fit-prior", str(tmp_path / "codec"), str(tmp_path / "sound")]
    for index in range(2):
        soundfile.write(tmp_path / "sound" / f"{index}.wav", 0.1 * torch.randn(16000).numpy(), 8000)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if index:
                warnings.filterwarnings("ignore", "(?s).*so the hash of each name decides: 1 to fit, 1 to measure")
            assert main(words) == (0 if index else 2)
    said = capsys.readouterr()
    assert "1 clip to fit, 1 held out" in said.out
    assert "sound has 1 clips to fit and none to measure; at least two are needed" in said.err
    assert main(["fit-prior", str(tmp_path / "nowhere"), str(tmp_path)]) == 2
    assert "nowhere; a model is a folder that save_pretrained wrote" in capsys.readouterr().err
    assert main([*words, "--device", "nowhere"]) == 2
    assert "device 'nowhere' cannot be used" in capsys.readouterr().err


def test_command_leaves_out_and_names_clips_that_cannot_be_read(codec, tmp_path, capsys):
    codec.save_pretrained(tmp_path / "codec")
    for split in ("train", "test"):
        (tmp_path / "sound" / split).mkdir(parents=True)
        soundfile.write(tmp_path / "sound" / split / "good.wav", 0.1 * torch.randn(16000).numpy(), 8000)
        (tmp_path / "sound" / split / "bad.wav").write_bytes(b"RIFF")
        soundfile.write(tmp_path / "sound" / split / "nan.wav", [0.0] * 99 + [float("nan")], 8000, "FLOAT")
        soundfile.write(tmp_path / "sound" / split / "far.wav", [0.0] * 99 + [1e19], 8000, "FLOAT")
    words = ["fit-prior", str(tmp_path / "codec"), str(tmp_path / "sound")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(words) == 0
    assert "1 clip to fit, 1 held out" in capsys.readouterr().out
    texts = " ".join(str(warning.message) for warning in caught)
    assert "skipped 2 of 8 clips: " in texts
    for name in (
        "train/bad.wav (is not audio",
        "train/nan.wav: holds NaN",
        "test/nan.wav: holds NaN",
        "train/far.wav: reaches 1e+19",
    ):
        assert name in texts
