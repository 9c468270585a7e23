from pathlib import Path

import pytest

from vqkit.coding.names import decoded_names, distinct_names, encoded_names

SOUND = {".flac", ".wav", ".mp3", ".m4a"}


def decoded(*names, to=None):
    candidates = {
        Path(name): decoded_names(Path(name), f".{to}" if to else ".wav", SOUND, asked=to is not None) for name in names
    }
    return [path.as_posix() for path in distinct_names(candidates).values()]


@pytest.mark.parametrize(
    ("name", "plain", "as_mp3"),
    [
        ("x/song.vqk", "x/song.wav", "x/song.mp3"),
        ("song.flac.vqk", "song.flac", "song.mp3"),
        ("song.FLAC.vqk", "song.FLAC", "song.mp3"),
        ("song.mp3.vqk", "song.wav", "song.mp3"),  # a loss is not repeated unless that is asked for
        ("song.m4a.vqk", "song.wav", "song.mp3"),  # cannot be written
        ("talk.v1.2.vqk", "talk.v1.2.wav", "talk.v1.2.mp3"),
        ("song.png.vqk", "song.png.wav", "song.png.mp3"),  # it holds sound
    ],
)
def test_a_suffix_is_not_doubled(name, plain, as_mp3):
    assert decoded(name) == [plain]
    assert decoded(name, to="mp3") == [as_mp3]


def test_decoded_names_that_clash():
    assert decoded("a.mp3.vqk", "a.m4a.vqk", "b.vqk") == ["a.mp3.wav", "a.m4a.wav", "b.wav"]
    assert decoded("a.mp3.vqk", "a.wav.vqk") == ["a.mp3.wav", "a.wav"]  # who gets his own name keeps it
    assert decoded("a.vqk", "a.wav.vqk") == ["a.vqk.wav", "a.wav"]
    assert decoded("a.vqk", "a.flac.vqk", to="wav") == ["a.wav", "a.flac.wav"]
    assert decoded("x/a.vqk", "y/a.vqk") == ["x/a.wav", "y/a.wav"]


def test_every_folder_finds_distinct_names():
    """All sets of sources whose names can be taken for each other's."""
    names = ["a", "a.vqk", "a.vqk.wav", "a.wav", "a.wav.wav", "a.flac", "a.wav.flac", "a.flac.wav", "a.flac.vqk"]
    for chosen in range(1 << len(names)):
        plain = {Path(name) for bit, name in enumerate(names) if chosen >> bit & 1}
        coded = {Path(f"{name}.vqk") for name in plain}
        for candidates in (
            {source: encoded_names(source) for source in plain},
            {source: decoded_names(source, ".wav", SOUND, asked=bool(chosen % 2)) for source in coded},
        ):
            assert len(set(distinct_names(candidates).values())) == len(plain)
