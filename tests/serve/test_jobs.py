"""Jobs of the page: what they make, and what they show of text that stands in files."""

from pathlib import Path

import pytest
import soundfile
import torch

from vqkit.data import read_audio, write_audio
from vqkit.models import SpectralCodec, load_codec
from vqkit.serve import jobs
from vqkit.serve.fragments import notes_list, safe_text
from vqkit.serve.jobs import decode_job, encode_job, result_bytes
from vqkit.serve.uploads import Limits, Sound

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
    made = encode_job(codecs, tone, tmp_path / "kept", "three", 1, LIMITS)
    assert made.vqk.read_bytes() == codecs["three"].compress(
        read_audio(tone).samples, 16000, codecs["three"].rates_kbps[0]
    )
    assert soundfile.info(made.original).samplerate == soundfile.info(made.reconstruction).samplerate == 16000
    assert made.notes == ""
    back = decode_job(codecs, made.vqk, tmp_path / "kept", LIMITS)
    assert back.sound.read_bytes() == made.reconstruction.read_bytes()
    assert back.notes == "<p>Written by three.</p>"
    assert sum(path.stat().st_size for path in (tmp_path / "kept").iterdir()) < result_bytes(codecs, LIMITS)


@pytest.mark.parametrize(
    ("name", "stages", "message"),
    [
        ("none", 1, "there is no model 'none' here; there are two, three"),
        ("two", 0, "the number of stages is 0, two has 1 … 2"),
        ("two", 3, "the number of stages is 3, two has 1 … 2"),
        ("two", -1, "the number of stages is -1, two has 1 … 2"),
        ("two", None, "the number of stages is None, two has 1 … 2"),
    ],
)
def test_what_the_page_does_not_offer_is_refused(
    codecs: dict[str, SpectralCodec], tone: Path, tmp_path: Path, name: str, stages: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encode_job(codecs, tone, tmp_path, name, stages, LIMITS)


def test_what_the_reader_warned_of_is_shown(
    codecs: dict[str, SpectralCodec], tone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Sound(read_audio(tone), ("the file is <b>cut short</b>",))
    monkeypatch.setattr("vqkit.serve.transcode.read_sound", lambda *_: sound)
    made = encode_job(codecs, tone, tmp_path, "two", 2, LIMITS)
    assert made.notes == "<p>the file is &lt;b&gt;cut short&lt;/b&gt;</p>"


def test_the_result_is_at_most_two_sounds_and_a_file(codecs: dict[str, SpectralCodec]) -> None:
    assert result_bytes(codecs, LIMITS) == (1 << 20) + 2 * (5 * 16000 * 2 + jobs._HEADER_BYTES)


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
