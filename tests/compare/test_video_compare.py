"""The main job on small drawn videos, from the command line's flags to the report."""

import json
import re

import pytest
import torch

from vqkit.bitstream import encode_codes
from vqkit.cli import main
from vqkit.compare.backbones import video
from vqkit.compare.dataset import Dataset
from vqkit.compare.runner import Comparison, compare
from vqkit.compare.video import VideoMeasure, side_by_side
from vqkit.data import read_image
from vqkit.data.video import list_videos, middle_clip
from vqkit.generate.motion import write_motions
from vqkit.models import VideoTokenizer
from vqkit.report import load_results, write_report

SYSTEMS = {"RVQ 2×8": "RVQ(dim, 8, 2)", "LooC of volumes": "LooC(dim, 8, 6, scale=2, spatial_dims=3)"}
SMALL = {"width": 12, "frames": 4, "size": 16, "stride": 2, "steps": 3, "batch_size": 2, "warmup_steps": 1}
SMALL |= {"save_every": 2, "network_width": 8, "residual_width": 4, "residual_blocks": 1}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    write_motions(folder, train=8, valid=0, test=3, frames=8, size=24)
    return folder


@pytest.fixture(scope="module")
def finished(films, tmp_path_factory):
    what = Comparison(SYSTEMS, video.Backbone(**SMALL), Dataset(str(films)), seeds=(0, 1), listen=2)
    return compare(what, tmp_path_factory.mktemp("out"), "vqkit compare")


def tokenizer_of(out, expression, seed):
    for path in out.glob("runs/*/training.json"):
        run = json.loads(path.read_text())
        if (run["expression"], run["seed"]) == (expression, seed):
            return VideoTokenizer.from_pretrained(path.parent / "tokenizer")
    raise AssertionError(expression)


def test_every_row_is_complete(finished):
    results = json.loads((finished / "results.json").read_text())
    assert results["modality"] == "video"
    assert results["backbone"]["name"] == "video"
    assert results["data"]["videos"] == {"train": 8, "test": 3}
    assert results["data"]["size"] == [4, 16, 16]
    assert len(results["videos"]) == 2
    for system in results["systems"]:
        assert set(system["metrics"]) == set(results["protocols"]) == {"psnr", "ssim", "mae"}
        assert all(len(measure["values"]) == 2 for measure in system["metrics"].values())
        assert system["bits_per_clip"] == 2 * 4 * 4 * system["bits_per_token"]
        assert len(system["loss_curve"]["loss"]) == 3
        assert len(system["reconstructions"]) == 2
    rvq, looc = results["systems"]
    assert (rvq["bits_per_token"], looc["bits_per_token"]) == (6, 8 * 2 * 3)  # 2×2×2 sub-positions of two segments
    assert looc["codebook_floats"] == 8 * 6
    assert [point["stages"] for point in rvq["rate_curve"]] == [1, 2]


def test_rate_and_quality_are_those_of_the_models_clips(finished, films):
    """Written and measured again, one clip and one frame at a time."""
    row = json.loads((finished / "results.json").read_text())["systems"][0]
    tokenizer = tokenizer_of(finished, "RVQ(dim, 8, 2)", 0)
    codes, psnr, mae = [], [], []
    for item in list_videos(films, "test"):
        clip = middle_clip(item.path, 4, 2, (16, 16))
        found = tokenizer.encode(clip[None])
        codes.append(found[0].flatten(1).T)
        made = tokenizer.decode(found, (4, 16, 16))[0]
        for frame in range(4):
            error = made[:, frame] - clip[:, frame]
            psnr.append(float(-10 * error.square().mean().log10()))
            mae.append(float(error.abs().mean()))
    written = 8 * len(encode_codes(torch.cat(codes), tokenizer.quantizer.code_sizes)) / (3 * 4 * 16 * 16)
    assert row["bpp"]["values"][0] == pytest.approx(written)
    assert row["metrics"]["psnr"]["values"][0] == pytest.approx(sum(psnr) / 12, rel=1e-4)
    assert row["metrics"]["mae"]["values"][0] == pytest.approx(sum(mae) / 12, rel=1e-4)
    assert row["rate_curve"][-1]["metrics"]["psnr"] == pytest.approx(row["metrics"]["psnr"]["values"][0], rel=1e-6)


def test_what_is_shown_are_the_frames_of_the_clip_and_of_its_reconstruction(finished, films):
    results = json.loads((finished / "results.json").read_text())
    tokenizer = tokenizer_of(finished, "LooC(dim, 8, 6, scale=2, spatial_dims=3)", 0)
    paths = {item.path.stem: item.path for item in list_videos(films, "test")}
    for shown in results["videos"]:
        clip = middle_clip(paths[shown["name"]], 4, 2, (16, 16))
        original = read_image(finished / shown["original"])
        assert original.shape == (3, 16, 64)
        assert torch.allclose(original[:, :, 16:32], clip[:, 1], atol=0.5 / 255 + 1e-6)
        made = tokenizer.decode(tokenizer.encode(clip[None]), (4, 16, 16))[0]
        found = read_image(finished / results["systems"][1]["reconstructions"][shown["name"]])
        assert torch.allclose(found, side_by_side(made), atol=0.5 / 255 + 1e-6)


def test_the_report_has_frames_and_players(finished):
    page = write_report(finished).read_text()
    assert "its frames side by side and as a film" in page
    assert "clips of 4 frames of 16×16 pixels" in (finished / "report.md").read_text() + page
    players = re.findall(r'<video src="data:video/mp4;base64,[^"]+" controls', page)
    assert len(players) == 2 * (1 + len(SYSTEMS))  # of each clip the original and a reconstruction a system
    assert "4 frames of 16×16" in page
    assert "http" not in page.replace("http-equiv", "")
    assert load_results(finished).examples[0].frames == 4


def test_all_quantizers_start_from_the_same_networks(finished, films, tmp_path):
    what = Comparison(
        SYSTEMS, video.Backbone(**{**SMALL, "steps": 1, "learning_rate": 1e-12}), Dataset(str(films)), seeds=(0,)
    )
    out = compare(what, tmp_path, "")
    states = [
        {
            name: value
            for name, value in tokenizer_of(out, expression, 0).state_dict().items()
            if "quantizer" not in name
        }
        for expression in SYSTEMS.values()
    ]
    assert all(torch.allclose(states[0][name], states[1][name], atol=1e-6) for name in states[0])


def test_the_command(films, tmp_path, capsys):
    flags = [word for name, value in SMALL.items() for word in (f"--backbone.{name}", str(value))]
    command = ["compare", "VQ(dim, 8)", "--backbone", "video", "--data.source", str(films), "--seeds", "[0]"]
    assert main([*command, *flags, "--backbone.steps", "1", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").is_file()
    assert "report:" in capsys.readouterr().out


def test_frames_too_small_for_ssim_are_measured_without_it():
    small, large = VideoMeasure(2, (8, 16), 1), VideoMeasure(2, (16, 16), 1)
    assert (set(small.protocols), set(large.protocols)) == ({"psnr", "mae"}, {"psnr", "mae", "ssim"})
    assert small.left_out().endswith("frames must be at least 11 pixels high and wide, and have 8 × 16")
    assert large.left_out() == ""
