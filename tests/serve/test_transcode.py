"""A sound through a codec and back, without any web framework."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vqkit import LFQ
from vqkit.bitstream import thin
from vqkit.data import read_audio, read_image, write_audio, write_image
from vqkit.metrics import MelDistance
from vqkit.models import ImageTokenizer, SpectralCodec, load_codec
from vqkit.models.audio.resampling import resample
from vqkit.serve.transcode import Transcoded, restore, transcode
from vqkit.serve.uploads import Limits

LIMITS = Limits(max_seconds=5)


@pytest.fixture(scope="module")
def codecs(models: dict[str, Path]) -> dict[str, SpectralCodec]:
    return {name: load_codec(path) for name, path in models.items()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    time = torch.arange(48000) / 24000
    write_audio(path, torch.stack([0.4 * (2000 * time).sin(), 0.2 * (9000 * time).sin()]), 24000)
    return path


@pytest.fixture(scope="module")
def made(codecs: dict[str, SpectralCodec], sound: Path) -> Transcoded:
    return transcode(sound, codecs["three"], 2, LIMITS)


def test_file_and_sound_are_those_of_the_codec(made: Transcoded, codecs: dict[str, SpectralCodec], sound: Path) -> None:
    wave = read_audio(sound)
    data = codecs["three"].compress(wave.samples, wave.sample_rate, kbps=0.5)
    assert made.vqk == data
    mono = resample(wave.samples.mean(dim=0)[None, None], 24000, 16000)[0]
    assert torch.equal(made.original, mono)  # at the codec's rate: what the file expands to is not kept
    assert made.warnings == ()
    assert torch.equal(made.reconstruction, codecs["three"].decompress(data)[0])


def test_numbers(made: Transcoded) -> None:
    numbers = made.numbers
    assert (numbers.stages, numbers.frames, numbers.size, numbers.units, numbers.nominal_rate) == (
        2,
        100,
        (32000,),
        2000,
        0.5,
    )
    assert numbers.vqk_bytes == len(made.vqk)
    assert numbers.rate == pytest.approx(len(made.vqk) * 8 / 2 / 1000)
    assert numbers.encode_seconds is not None
    assert 0 < numbers.encode_seconds < 60
    metric = MelDistance(16000)
    metric.update(made.reconstruction[None], made.original[None])
    assert numbers.quality["mel_distance"] == pytest.approx(metric.compute().item(), rel=1e-5)


def test_pictures_are_pictures(made: Transcoded) -> None:
    assert [title for title, _, _ in made.figures] == ["Original", "Reconstruction", "Codes", "Codebook use"]
    pictures = [picture for _, _, picture in made.figures]
    for picture in pictures:
        image = Image.open(io.BytesIO(picture or b""))
        assert image.format == "PNG"
        assert image.width > 1000
        assert len(np.unique(np.asarray(image.convert("L")))) > 10
    assert len(set(pictures)) == 4


def test_a_file_is_restored_by_the_codec_that_wrote_it(
    made: Transcoded, codecs: dict[str, SpectralCodec], tmp_path: Path
) -> None:
    path = tmp_path / "a.vqk"
    path.write_bytes(made.vqk)
    back = restore(path, codecs, LIMITS)
    assert back.model == "three"
    assert back.warnings == ()
    assert torch.equal(back.reconstruction, made.reconstruction)
    assert back.figures[1:] == made.figures[2:]
    assert back.numbers == replace(
        made.numbers,
        nominal_rate=None,
        encode_seconds=None,
        decode_seconds=back.numbers.decode_seconds,
        quality={},
    )


def test_a_file_of_a_model_that_ships_is_restored_though_others_are_loaded(
    codecs: dict[str, SpectralCodec], tmp_path: Path
) -> None:
    shipped = load_codec("vqkit-codec-16khz")
    wav = 0.1 * torch.randn(1, 3200, generator=torch.Generator().manual_seed(0))
    (tmp_path / "old.vqk").write_bytes(data := shipped.compress(wav, 16000, 1.0))
    back = restore(tmp_path / "old.vqk", codecs)
    assert back.model == "vqkit-codec-16khz"
    assert torch.equal(back.reconstruction, shipped.decompress(data)[0])


def test_bad_files_are_one_clear_line(made: Transcoded, codecs: dict[str, SpectralCodec], tmp_path: Path) -> None:
    path = tmp_path / "a.vqk"
    altered = bytearray(made.vqk)
    altered[8] ^= 1
    header = 1 + made.vqk.index(b"SpectralCodec") + len("SpectralCodec") + 48
    for data, known, message in (
        (b"RIFF" * 30, codecs, "not a vqk file"),
        (bytes(altered), codecs, "the header is damaged"),
        (made.vqk[:header], codecs, "nothing of the file's sound is left|truncated|the header"),
        (
            made.vqk,
            {"two": codecs["two"]},
            r"written by SpectralCodec with weights \w{8}, which is not loaded here; loaded: two",
        ),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message) as error:
            restore(path, known, LIMITS)
        assert "\n" not in str(error.value)
    path.write_bytes(made.vqk)
    with pytest.raises(ValueError, match="the sound lasts 2.0 s; at most 1 s are taken here"):
        restore(path, codecs, Limits(max_seconds=1))


def test_what_is_damaged_is_named_and_the_rest_is_heard(
    made: Transcoded, codecs: dict[str, SpectralCodec], tmp_path: Path
) -> None:
    path, altered = tmp_path / "a.vqk", bytearray(made.vqk)
    altered[-40] ^= 1
    path.write_bytes(altered)
    back = restore(path, codecs, LIMITS)
    assert len(back.warnings) == 1
    assert "frames 50 to 99 are lost" in back.warnings[0]
    assert torch.equal(back.reconstruction[:, :14000], made.reconstruction[:, :14000])
    assert not back.reconstruction[:, 16000:].any()


def test_a_thinned_file_has_the_stages_that_are_left(
    codecs: dict[str, SpectralCodec], sound: Path, tmp_path: Path
) -> None:
    thin(io.BytesIO(transcode(sound, codecs["two"], limits=LIMITS).vqk), tmp_path / "thin.vqk", 1)
    assert restore(tmp_path / "thin.vqk", codecs, LIMITS).numbers.stages == 1


def test_very_short_sounds_and_very_large_alphabets_are_shown_without_what_cannot_be_measured(tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec = SpectralCodec(LFQ(22, 22), encoder_width=8, encoder_blocks=1, decoder_width=8, decoder_blocks=1).eval()
    path = tmp_path / "a.wav"
    write_audio(path, torch.full((1, 3), 0.1), 16000)
    made = transcode(path, codec)
    assert made.reconstruction.shape == (1, 3)
    assert [title for title, _, _ in made.figures] == ["Original", "Reconstruction", "Codes"]
    assert made.numbers.quality["mel_distance"] is None
    assert made.numbers.frames == 1


def test_an_image_and_back(
    image_model: Path, photograph: Path, codecs: dict[str, SpectralCodec], tmp_path: Path
) -> None:
    tokenizer = ImageTokenizer.from_pretrained(image_model)
    made = transcode(photograph, tokenizer, 1, LIMITS)
    image = read_image(photograph, channels=3)
    assert torch.equal(made.original, image)
    assert torch.equal(made.reconstruction, tokenizer.decode(tokenizer.encode(image[None])[:, :1], (30, 45))[0])
    numbers = made.numbers
    assert (numbers.stages, numbers.frames, numbers.size, numbers.units) == (1, 8 * 12, (30, 45), 1350)
    assert numbers.nominal_rate == pytest.approx(8 * 12 * 4 / 1350)
    assert numbers.rate == pytest.approx(len(made.vqk) * 8 / 1350)
    error = (made.reconstruction - image).square().mean()
    assert numbers.quality["psnr"] == pytest.approx(-10 * error.log10().item(), rel=1e-4)
    assert [title for title, _, _ in made.figures] == ["Codes", "Codebook use"]

    path, known = tmp_path / "a.vqk", {**codecs, "pictures": tokenizer}
    path.write_bytes(made.vqk)
    back = restore(path, known, LIMITS)
    assert back.model == "pictures"
    assert torch.equal(back.reconstruction, made.reconstruction)
    for limits, data, message in (
        (replace(LIMITS, max_megapixels=0.001), made.vqk, r"the image has 45 × 30 pixels; at most 0.001 megapixels"),
        (LIMITS, made.vqk[:-30], "nothing of the file's image is left"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=message):
            restore(path, known, limits)


def test_very_small_images_are_shown_without_what_cannot_be_measured(image_model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", torch.rand(3, 5, 7))
    made = transcode(tmp_path / "a.png", ImageTokenizer.from_pretrained(image_model))
    assert made.reconstruction.shape == (3, 5, 7)
    assert made.numbers.quality["ssim"] is None
