from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqkit.data import Clip, list_clips, read_audio, sample_folder, write_audio
from vqkit.evaluate.excerpts import choose_excerpts, load_excerpt, source_clips


def clip(name, seconds, **labels):
    return Clip(Path(name), name, "test", "speech", seconds, 16000, labels)


def test_speakers_share_alike_before_any_gives_two():
    clips = [clip(f"a{i}", 3.0, speaker="a") for i in range(9)] + [
        clip("b0", 3.0, speaker="b"),
        clip("c0", 3.0, speaker="c"),
    ]
    chosen = choose_excerpts(clips, 5, 8.0)
    assert Counter(part.clip.labels["speaker"] for part in chosen) == {"a": 3, "b": 1, "c": 1}
    assert [part.clip.name for part in chosen if part.clip.labels["speaker"] == "a"] == ["a1", "a4", "a7"]  # spread


def test_a_long_piece_is_cut_in_even_parts():
    parts = choose_excerpts([clip("long", 31.0, piece="p")], 99, 8.0)
    assert [part.start for part in parts] == [1.75, 11.5, 21.25]  # gaps of (31 − 24) / 4
    assert all(part.seconds == 8.0 for part in parts)


def test_order_of_the_clips_does_not_matter_and_short_ones_are_left_out():
    clips = [clip(f"x{i}", 1.0 + i, speaker=f"s{i % 3}") for i in range(9)]
    assert choose_excerpts(clips, 4, 5.0) == choose_excerpts(clips[::-1], 4, 5.0)
    assert all(part.clip.seconds >= 2 for part in choose_excerpts(clips, 9, 5.0))


def test_files_without_labels_are_their_own_group():
    chosen = choose_excerpts([clip("a", 20.0), clip("b", 3.0)], 2, 4.0)
    assert [part.clip.name for part in chosen] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([clip("a", 1.0)], 3, 8.0), "no clip of at least 2 s among 1"),
        (([clip("a", 3.0)], 0, 8.0), "count and seconds must be positive, got 0 and 8"),
        (([clip("a", 3.0)], 1, 0.0), "count and seconds must be positive, got 1 and 0"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        choose_excerpts(*arguments)


def test_a_folder_inside_a_data_set_has_its_manifest():
    inside = source_clips(sample_folder() / "music" / "music24", "test")
    assert [found.name for found in inside] == ["music/music24/test/sectoid_feelings.ogg"]
    assert inside[0].labels["piece"] == "sectoid_feelings"
    assert source_clips(sample_folder(), "test", "music") == list_clips(sample_folder(), "test", "music")


def test_a_plain_folder_is_walked(tmp_path):
    (tmp_path / "test").mkdir()
    write_audio(tmp_path / "test" / "a.wav", torch.zeros(1, 16000), 16000)
    assert [found.name for found in source_clips(tmp_path, "test", "speech")] == ["test/a.wav"]


@pytest.mark.filterwarnings("ignore:.*far outside ±1")
def test_an_excerpt_far_outside_full_scale_is_an_error_with_its_name(tmp_path):
    soundfile.write(tmp_path / "far.wav", np.full(48000, 1e19, np.float32), 16000, "FLOAT")
    (part,) = choose_excerpts([Clip(tmp_path / "far.wav", "far.wav", "", "", 3.0, 16000)], 1, 3.0)
    with pytest.raises(ValueError, match=r"far\.wav reaches 1e\+19"):
        load_excerpt(part, "speech", 16000)


def test_an_excerpt_is_that_part_of_the_file():
    part = choose_excerpts(source_clips(sample_folder() / "music" / "music24", "test"), 2, 3.0)[1]
    sound = load_excerpt(part, "music", 16000)
    whole = read_audio(part.clip.path, 16000, channels=1).samples
    start = round(part.start * 16000)
    assert (sound.kind, sound.sample_rate, sound.wav.shape) == ("music", 16000, (1, 48000))
    assert sound.name == f"{part.clip.name} {part.start:.3g}s"
    assert torch.allclose(sound.wav, whole[:, start : start + 48000], atol=1e-4)
