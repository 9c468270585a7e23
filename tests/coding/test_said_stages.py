"""Encoding and decoding say the same of a file's stages: the most that a frame or cell has, and whether others may have fewer."""

import json

import pytest

from vqkit.bitstream import VqkReader
from vqkit.cli import main


@pytest.fixture
def said(capsys, tmp_path, sound, picture, film, model, image_model, video_model):
    """A function that encodes a file of a kind and decodes it, and returns what both say of the stages, and those of the file's frames."""
    makers = {
        "sound": (sound, "a.wav", model),
        "image": (picture, "a.png", image_model),
        "video": (film, "a.mp4", video_model),
    }

    def call(kind, *words):
        make, name, folder = makers[kind]
        source, file = make(tmp_path / name), tmp_path / "a.vqk"
        texts, numbers = [], []
        for command in (
            ["encode", source, file, "--as", kind, *words],
            ["decode", file, (tmp_path / "b").with_suffix(source.suffix)],
        ):
            for more in ([], ["--json"]):
                assert main([*map(str, [*command, "-f", "--model", folder, *more])]) == 0
                out = capsys.readouterr().out
                if more:
                    numbers.append(json.loads(out)["stages"])
                else:
                    texts.append(next(part for part in out.strip().split("; ")[0].split(", ") if "stage" in part))
        with VqkReader(file) as reader:
            most = reader.header.most_stages(reader.read())
        assert numbers == [most, most]
        assert texts[0] == texts[1]
        return texts[0]

    return call


@pytest.mark.parametrize("kind", ["sound", "image", "video"])
def test_both_say_the_same(said, kind):
    all_stages = 4 if kind == "sound" else 3
    assert said(kind) == f"{all_stages} stages"
    assert said(kind, "--stages", 2) == "2 stages"
    assert said(kind, "--rate-weight", 0) == f"up to {all_stages} stages"
    assert said(kind, "--stages", 2, "--rate-weight", 0) == "up to 2 stages"
    assert said(kind, "--stages", 3, "--rate-weight", 1e9) == "1 stage"  # as few as a frame can have


@pytest.mark.parametrize("kind", ["sound", "image", "video"])
def test_so_do_files_of_a_size(said, kind, tmp_path):
    sizes = []
    for stages in (1, 2):
        said(kind, "--stages", stages)
        sizes.append((tmp_path / "a.vqk").stat().st_size)
    assert said(kind, "--max-bytes", sum(sizes) // 2 + 16) == "1 stage"
    assert said(kind, "--max-bytes", 10 * sizes[1], "--rate-weight", 1e9) == "1 stage"
