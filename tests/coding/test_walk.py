"""Sound, images and video take the same way through `vqkit encode` and `vqkit decode`, but for what is the modality's own."""

import sys
import threading
from pathlib import Path

import pytest

import vqkit
from vqkit.cli import main

SOURCE = Path(vqkit.__file__).parent
OWN = ("coding", "data", "models")  # rooms that have a room for each modality
NETWORKS = ("nn/", "quantize/", "models/peers/", "models/input_checks.py")  # layers and checks are a model's own


def walked(words):
    """Files of vqkit in which something is called while a command runs."""
    found = set()

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_name != "<module>":
            found.add(frame.f_code.co_filename)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        assert main([str(word) for word in words]) == 0
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    inside = (Path(name) for name in found if name.startswith(str(SOURCE)))
    return {path.relative_to(SOURCE).as_posix() for path in inside}


def shared(files):
    """The files that no room of a modality holds, and no network is made of."""
    rooms = tuple(f"{room}/{what}/" for room in OWN for what in ("audio", "image", "video"))
    rooms += (
        "coding/temporary.py",
    )  # images and video are read and written whole, by libraries that want files; sound in blocks
    return {file for file in files if not file.startswith((*rooms, *NETWORKS))}


@pytest.fixture
def walks(sound, picture, film, model, image_model, video_model, tmp_path):
    wav, png, mp4 = sound(tmp_path / "a.wav", seconds=0.5), picture(tmp_path / "a.png"), film(tmp_path / "a.mp4")
    ways = {}
    for name, source, folder, back in (
        ("sound", wav, model, "b.wav"),
        ("image", png, image_model, "b.png"),
        ("video", mp4, video_model, "b.mp4"),
    ):
        vqk = tmp_path / f"{name}.vqk"
        options = ["--as", name, "--model", folder]
        assert main([str(word) for word in ("encode", source, tmp_path / "first.vqk", "-f", *options)]) == 0  # imports
        ways[f"encode {name}"] = walked(["encode", source, vqk, *options])
        ways[f"decode {name}"] = walked(["decode", vqk, tmp_path / back, "--model", folder])
    return ways


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_all_modalities_pass_through_the_same_files(walks, command):
    ways = {name: walks[f"{command} {name}"] for name in ("sound", "image", "video")}
    for name, room in (("sound", "audio"), ("image", "image"), ("video", "video")):
        others = set().union(*(way for other, way in ways.items() if other != name))
        assert f"coding/{room}/{command}.py" in ways[name] - others  # the walk is seen at all
    assert shared(ways["sound"]) ^ shared(ways["image"]) == set()
    # a film is read by FFmpeg, as some sounds are, and turned gray like an image
    assert shared(ways["image"]) ^ shared(ways["video"]) == set()
    common = {"cli.py", "coding/command.py", "coding/kinds.py", "coding/run.py", "models/tokenizer.py"}
    assert common <= ways["sound"] & ways["image"] & ways["video"]
