"""What commands do with a saved tokenizer of video: a prior is fitted, the doctor looks at it."""

import json
import warnings

import pytest
import torch

from vqkit import RVQ
from vqkit.cli import main
from vqkit.data.video import list_videos, middle_frames
from vqkit.generate.motion import write_motions
from vqkit.models import VideoTokenizer
from vqkit.models.loading import load_tokenizer


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    write_motions(folder, train=6, valid=2, test=2, frames=16, size=32)
    return folder


@pytest.fixture
def model(films, tmp_path):
    torch.manual_seed(0)
    made = VideoTokenizer(RVQ(8, 16, 2), width=8, residual_width=4, residual_blocks=1).eval()
    clips = torch.stack([middle_frames(item.path, 16) for item in list_videos(films, "train")])
    made.initialize(clips)
    made.quantizer.fit(made.analyze(clips))
    made.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_prior_makes_files_smaller_and_changes_no_pixel(model, films, capsys):
    assert main(["fit-prior", str(model), str(films), "--coding", "static"]) == 0
    assert "kbit/s" in capsys.readouterr().out
    tokenizer = load_tokenizer(model)
    assert tokenizer.prior is not None
    clip = middle_frames(list_videos(films, "test")[0].path, 16)
    small, plain = tokenizer.compress(clip), tokenizer.compress(clip, plain=True)
    assert len(small) < len(plain)
    assert torch.equal(tokenizer.decompress(small)[0], tokenizer.decompress(plain)[0])


def test_the_doctor_reads_videos(model, films, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["doctor", str(model), str(films), "--vectors", "512", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_films_are_coded_as_sound_unless_video_is_asked_for(model, films, tmp_path, capsys):
    film = str(list_videos(films, "test")[0].path)
    assert main(["encode", film, str(tmp_path / "x.vqk"), "--model", str(model)]) == 2
    assert (
        f"{model} codes video, and nothing here is of that kind: --as video codes films as it"
        in capsys.readouterr().err
    )
    tokenizer = load_tokenizer(model)
    (tmp_path / "clip.vqk").write_bytes(tokenizer.compress(middle_frames(film, 8), frame_rate=16.0))
    assert main(["decode", str(tmp_path / "clip.vqk"), str(tmp_path / "clip.wav")]) != 0
    assert "holds video, and" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "clip.vqk")]) == 0
    shown = capsys.readouterr().out
    assert "video: 32×32 pixels in 8×8 cells" in shown
    assert "0.500 s" in shown
