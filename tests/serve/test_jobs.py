"""Jobs of the page: what they make, and what they show of text that stands in files."""

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from vqkit.data import read_audio, read_image, write_audio, write_image
from vqkit.models import ImageTokenizer, SpectralCodec, load_codec
from vqkit.serve import medium
from vqkit.serve.fragments import notes_list, safe_text
from vqkit.serve.jobs import decode_job, encode_job, result_bytes
from vqkit.serve.uploads import Limits, Upload

LIMITS = Limits(max_megabytes=1, max_seconds=5)


@pytest.fixture(scope="module")
def codecs(models: dict[str, Path]) -> dict[str, SpectralCodec]:
    return {name: load_codec(path) for name, path in models.items()}


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    write_audio(tmp_path / "a.wav", 0.3 * (torch.arange(16000) / 8).sin()[None], 16000)
    return tmp_path / "a.wav"


def test_a_sound_and_back(codecs: dict[str, SpectralCodec], tone: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    made = encode_job(codecs, tone, tmp_path / "kept", "three", 1, "audio", LIMITS)
    assert made.vqk.read_bytes() == codecs["three"].compress(
        read_audio(tone).samples, 16000, codecs["three"].rates_kbps[0]
    )
    assert soundfile.info(made.original).samplerate == soundfile.info(made.reconstruction).samplerate == 16000
    assert made.notes == ""
    back = decode_job(codecs, made.vqk, tmp_path / "kept", LIMITS)
    assert back.file.read_bytes() == made.reconstruction.read_bytes()
    assert back.notes == "<p>Written by three.</p>"
    assert sum(path.stat().st_size for path in (tmp_path / "kept").iterdir()) < result_bytes(codecs, LIMITS)


def test_files_of_models_that_ship_and_are_not_on_the_page(
    codecs: dict[str, SpectralCodec], photograph: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.vqk"
    picture = read_image(photograph, 3)
    file.write_bytes(ImageTokenizer.from_pretrained().compress(picture, bpp=2))
    back = decode_job(codecs, file, tmp_path, LIMITS)
    assert back.notes == "<p>Written by vqkit-image-2.</p>"
    assert read_image(back.file).shape == picture.shape


def test_an_image_and_back(
    codecs: dict[str, SpectralCodec], image_model: Path, photograph: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    tokenizer = ImageTokenizer.from_pretrained(image_model)
    known = {**codecs, "pictures": tokenizer}
    made = encode_job(known, photograph, kept, "pictures", 2, "image", LIMITS)
    assert [path.name for path in (made.original, made.reconstruction, made.vqk)] == [
        "original.png",
        "reconstruction.png",
        "image.vqk",
    ]
    assert made.vqk.read_bytes() == tokenizer.compress(read_image(photograph, channels=3))
    assert torch.equal(read_image(made.original), read_image(photograph))
    assert "45 × 30" in made.numbers
    assert "bits a pixel" in made.numbers
    back = decode_job(known, made.vqk, kept, LIMITS)
    assert (back.modality, back.file.name) == ("image", "image.png")
    assert back.file.read_bytes() == made.reconstruction.read_bytes()
    with pytest.raises(ValueError, match="there is no model 'pictures' here; there are two, three"):
        encode_job(known, photograph, kept, "pictures", 2, "audio", LIMITS)
    with pytest.raises(ValueError, match="there is no model 'two' here; there are pictures"):
        encode_job(known, photograph, kept, "two", 2, "image", LIMITS)


def test_an_image_of_noise_is_at_most_as_large_as_the_page_keeps_room_for(image_model: Path, tmp_path: Path) -> None:
    """No filter and no deflate make noise smaller: the worst that a file can be."""
    known = {"pictures": ImageTokenizer.from_pretrained(image_model)}
    limits = replace(LIMITS, max_megapixels=0.04)
    write_image(tmp_path / "noise.png", torch.rand(3, 200, 200))
    assert (tmp_path / "noise.png").stat().st_size <= medium.medium_of(known["pictures"]).most_bytes(
        known["pictures"], limits
    )


@pytest.mark.parametrize(
    ("name", "stages", "message"),
    [
        ("none", 1, "there is no model 'none' here; there are two, three"),
        ("two", 0, "the number of stages is 0, two has 1 … 2"),
        ("two", 3, "the number of stages is 3, two has 1 … 2"),
        ("two", -1, "the number of stages is -1, two has 1 … 2"),
        ("two", None, "the number of stages is None, two has 1 … 2"),
        ("two", True, "the number of stages is True, two has 1 … 2"),
    ],
)
def test_what_the_page_does_not_offer_is_refused(
    codecs: dict[str, SpectralCodec], tone: Path, tmp_path: Path, name: str, stages: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encode_job(codecs, tone, tmp_path, name, stages, "audio", LIMITS)


def test_what_the_reader_warned_of_is_shown(
    codecs: dict[str, SpectralCodec], tone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Upload(read_audio(tone).samples, ("the file is <b>cut short</b>",))
    monkeypatch.setattr("vqkit.serve.medium.read_sound", lambda *_: sound)
    made = encode_job(codecs, tone, tmp_path, "two", 2, "audio", LIMITS)
    assert made.notes == "<p>the file is &lt;b&gt;cut short&lt;/b&gt;</p>"


def test_the_result_is_at_most_two_sounds_and_a_file(codecs: dict[str, SpectralCodec]) -> None:
    assert result_bytes(codecs, LIMITS) == (1 << 20) + 2 * (5 * 16000 * 2 + medium._HEADER_BYTES)


def test_text_of_files_is_shown_and_does_nothing() -> None:
    for text, shown in (
        ("<img src=x onerror='1'>&", "&lt;img src=x onerror=&#x27;1&#x27;&gt;&amp;"),
        ("a\x1b[2J\r\n\0b", r"a\x1b[2J\r\n\x00b"),
        ("a\u202eb\u200b\u2028\x9b", r"a\u202eb\u200b\u2028\x9b"),
        ("Stück – 1½ \N{CJK UNIFIED IDEOGRAPH-4E2D} \N{GRINNING FACE}", "Stück – 1½ 中 😀"),
        ("\ud800", r"\ud800"),
    ):
        assert safe_text(text) == shown
    assert notes_list("", ["<a>", "\x1b"]) == r"<p>&lt;a&gt;</p><p>\x1b</p>"
