"""The main job on small generated images, from the command line's flags to the report."""

import json
import shutil

import pytest
import torch

from vqkit.bitstream import encode_codes
from vqkit.cli import main
from vqkit.compare.backbones import conv, vit, vqgan
from vqkit.compare.runner import Comparison, Dataset, compare
from vqkit.data import Images, fingerprint, read_image, write_image
from vqkit.models import ImageTokenizer
from vqkit.report import load_results, markdown_table

SYSTEMS = {"RVQ 2×8": "RVQ(dim, 8, 2)", "LooC <8>": "LooC(dim, 8, 6)"}
SMALL = {"width": 12, "size": 16, "steps": 3, "batch_size": 2, "warmup_steps": 1, "trunk_size": 0, "save_every": 2}
CONV = {**SMALL, "network_width": 8, "residual_width": 4, "residual_blocks": 1}
METRICS = {"psnr", "ssim", "mae"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes, stripes and blobs, three of each to train on and two to measure on."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 3), ("test", 2)):
        for kind, size in (("blobs", (4, 5)), ("stripes", (1, 12))):
            for index in range(count):
                small = torch.rand(1, 3, *size, generator=generator)
                path = folder / split / kind / f"{kind}_{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(path, torch.nn.functional.interpolate(small, (20, 24), mode="bilinear")[0])
    return folder


def what(pictures, **changes) -> Comparison:
    backbone = conv.Backbone(**{**CONV, **changes.pop("backbone", {})})
    values = {"systems": SYSTEMS, "backbone": backbone, "data": Dataset(str(pictures)), "seeds": (0, 1), "listen": 3}
    return Comparison(**{**values, **changes})


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    return compare(what(pictures), tmp_path_factory.mktemp("out"), "vqkit compare")


def test_every_row_is_complete(finished):
    results = json.loads((finished / "results.json").read_text())
    assert results["modality"] == "image"
    assert results["backbone"]["name"] == "conv"
    assert results["data"]["images"] == {"train": 6, "test": 4}
    assert results["data"]["size"] == [16, 16]
    assert [picture["group"] for picture in results["images"]] == ["blobs", "stripes", "blobs"]
    assert [s["name"] for s in results["systems"]] == list(SYSTEMS)
    for system in results["systems"]:
        assert set(system["metrics"]) == set(results["protocols"]) == METRICS
        assert all(len(measure["values"]) == 2 for measure in system["metrics"].values())
        assert system["bits_per_image"] == 16 * system["bits_per_token"] == 16 * 6
        assert len(system["loss_curve"]["loss"]) == 3
        assert system["residual_energy"][0] == 1.0
        assert len(system["reconstructions"]) == 3
        for path in [*system["reconstructions"].values(), results["images"][0]["original"]]:
            assert read_image(finished / path).shape == (3, 16, 16)
    rvq, looc = results["systems"]
    assert (rvq["codebook_floats"], looc["codebook_floats"]) == (2 * 8 * 12, 8 * 6)
    assert [point["stages"] for point in rvq["rate_curve"]] == [1, 2]
    assert looc["rate_curve"] is None


def trained(out, expression, seed):
    """Folder of a run."""
    for path in out.glob("runs/*/training.json"):
        run = json.loads(path.read_text())
        if (run["expression"], run["seed"]) == (expression, seed):
            return path.parent
    raise AssertionError(expression)


def test_rate_and_quality_are_those_of_the_models_files(finished, pictures):
    """Written and measured again, one image at a time."""
    row = json.loads((finished / "results.json").read_text())["systems"][0]
    tokenizer = ImageTokenizer.from_pretrained(trained(finished, "RVQ(dim, 8, 2)", 0) / "tokenizer")
    images = Images(Dataset(str(pictures)).images(training=False), 16)
    codes, psnr, mae = [], [], []
    for index in range(len(images)):
        image = images[index].image
        codes.append(tokenizer.encode(image[None])[0].flatten(1).T)
        made = tokenizer.decode(tokenizer.encode(image[None]))[0]
        psnr.append(float(-10 * (made - image).square().mean().log10()))
        mae.append(float((made - image).abs().mean()))
    written = 8 * len(encode_codes(torch.cat(codes), tokenizer.quantizer.code_sizes)) / (len(images) * 16 * 16)
    assert row["bpp"]["values"][0] == pytest.approx(written)
    assert written == pytest.approx(16 * 6 / 256, rel=0.25)  # few codes: the coder's own bytes show
    assert row["metrics"]["psnr"]["values"][0] == pytest.approx(sum(psnr) / 4, rel=1e-4)
    assert row["metrics"]["mae"]["values"][0] == pytest.approx(sum(mae) / 4, rel=1e-4)
    assert row["rate_curve"][-1]["bpp"] == pytest.approx(written)
    assert row["rate_curve"][-1]["metrics"]["psnr"] == pytest.approx(row["metrics"]["psnr"]["values"][0], rel=1e-6)


def test_encoder_and_decoder_start_alike_and_seeds_differ(finished, pictures, tmp_path):
    out = compare(what(pictures, backbone={"steps": 1, "learning_rate": 1e-12}, seeds=(0, 1)), tmp_path, "")
    first, second, other = (
        ImageTokenizer.from_pretrained(trained(out, expression, seed) / "tokenizer").backbone.state_dict()
        for expression, seed in (("RVQ(dim, 8, 2)", 0), ("LooC(dim, 8, 6)", 0), ("RVQ(dim, 8, 2)", 1))
    )
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
    assert not all(torch.allclose(first[name], other[name], atol=1e-3) for name in first)


def test_all_quantizers_start_from_a_trained_tokenizer(finished, pictures, tmp_path):
    start = trained(finished, "RVQ(dim, 8, 2)", 1) / "tokenizer"
    settings = {"steps": 1, "learning_rate": 1e-12, "start": str(start), "quantize_after": 0}
    out = compare(what(pictures, backbone=settings, seeds=(0,)), tmp_path / "out", "")
    wanted = ImageTokenizer.from_pretrained(start)
    for expression in SYSTEMS.values():
        found = ImageTokenizer.from_pretrained(trained(out, expression, 0) / "tokenizer")
        pictures_in = torch.rand(2, 3, 16, 16)
        made, expected = (one.autoencode(pictures_in).signal for one in (found, wanted))  # the latent is turned
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)
    found = ImageTokenizer.from_pretrained(trained(out, "RVQ(dim, 8, 2)", 0) / "tokenizer")
    code = torch.zeros(1, 2, dtype=torch.long)
    assert not torch.allclose(found.quantizer.decode(code), wanted.quantizer.decode(code))  # fitted anew
    recorded = json.loads((out / "results.json").read_text())["backbone"]
    assert len(recorded["start_sha256"]) == 16
    with pytest.raises(ValueError, match=r"start=.* has .*'width': 8.*, these settings describe .*'width': 16"):
        compare(what(pictures, backbone={**settings, "network_width": 16}), tmp_path / "other", "")
    with pytest.raises(
        ValueError, match=r"start=/nowhere must be the folder of a trained tokenizer, it has no model.safe"
    ):
        compare(what(pictures, backbone={**settings, "start": "/nowhere"}), tmp_path / "other", "")


def test_finished_runs_are_used_again_and_missing_ones_made(finished, pictures, monkeypatch, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    before = json.loads((out / "results.json").read_text())
    calls = []
    original = conv.Backbone.train
    monkeypatch.setattr(
        conv.Backbone, "train", lambda self, q, *rest: calls.append(type(q).__name__) or original(self, q, *rest)
    )
    compare(what(pictures), out, "vqkit compare")
    assert calls == []
    assert json.loads((out / "results.json").read_text())["systems"] == before["systems"]
    compare(what(pictures, systems={**SYSTEMS, "FSQ": "FSQ(dim, [5, 5])"}, seeds=(0,)), out, "vqkit compare")
    assert calls == ["FSQ"]


def test_a_killed_comparison_goes_on_from_its_checkpoint(pictures, tmp_path):
    asked = what(pictures, seeds=(0,), systems={"RVQ": "RVQ(dim, 8, 2)"}, listen=1)
    whole = json.loads((compare(asked, tmp_path / "whole", "") / "results.json").read_text())["systems"][0]

    def killed(name, note, row):
        if "step 3/" in note:
            raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        compare(asked, tmp_path / "cut", "", killed)
    assert list((tmp_path / "cut" / "runs").glob("*/last.safetensors"))
    resumed = json.loads((compare(asked, tmp_path / "cut", "") / "results.json").read_text())["systems"][0]
    assert resumed["loss_curve"] == whole["loss_curve"]
    assert resumed["metrics"] == whole["metrics"]


def test_the_report_reads_what_was_written(finished):
    results = load_results(finished)
    assert [system.name for system in results.systems] == list(SYSTEMS)
    table = markdown_table(results)
    assert "PSNR" in table
    assert "bpp" in table


def test_the_trunk_measures_and_trains(pictures, tmp_path):
    """On four images a Fréchet distance has no meaning, but a number; all of it is labelled with the trunk."""
    losses = {"variance_weight": 0.0, "l1_weight": 1.0, "perceptual_weight": 1.0, "adversarial_weight": 0.5}
    settings = {"trunk_size": 32, "size": 32, "steps": 2, "crop": "random", "crop_share": (0.8, 1.0), **losses}
    asked = what(pictures, backbone=settings, systems={"VQ": "VQ(dim, 8)"}, seeds=(0,), listen=1)
    results = json.loads((compare(asked, tmp_path, "") / "results.json").read_text())
    assert set(results["systems"][0]["metrics"]) == METRICS | {"lpips_effnet", "fd_effnet"}
    assert list(results["protocols"]) == ["psnr", "ssim", "mae", "lpips_effnet", "fd_effnet"]
    assert results["protocols"]["lpips_effnet"]["name"] == "LPIPS-effnet"
    assert results["systems"][0]["metrics"]["lpips_effnet"]["mean"] > 0


@pytest.mark.parametrize(
    "backbone",
    [
        vit.Backbone(**SMALL, patch=4, tokens=4, network_width=16, depth=1, heads=2),
        vqgan.Backbone(**SMALL, widths=(8, 16), norm_groups=4),
    ],
    ids=["vit", "vqgan"],
)
def test_other_backbones(pictures, tmp_path, backbone):
    asked = Comparison({"VQ": "VQ(dim, 8)"}, backbone, Dataset(str(pictures)), seeds=(0,), listen=1)
    system = json.loads((compare(asked, tmp_path, "") / "results.json").read_text())["systems"][0]
    tokens = {"vit": 4, "vqgan": 64}[type(backbone).__module__.rpartition(".")[2]]
    assert system["bits_per_image"] == 3 * tokens


def test_images_of_classes_take_turns_and_come_from_elsewhere(pictures, tmp_path):
    data = Dataset(str(pictures))
    assert [item.label for item in data.images(training=False)] == ["blobs", "stripes"] * 2
    assert len(data.images(training=True)) == 6
    few = Dataset(str(pictures), max_train=3, max_test=2).images
    assert [item.name for item in few(True)] == [
        "train/blobs/blobs_0.png",
        "train/stripes/stripes_0.png",
        "train/blobs/blobs_1.png",
    ]
    assert len(few(False)) == 2
    assert {item.label for item in Dataset(str(pictures), groups=("stripes",)).images(training=True)} == {"stripes"}
    with pytest.raises(ValueError, match="groups names birds; the train split of .* has blobs, stripes"):
        Dataset(str(pictures), groups=("birds",)).images(training=True)
    with pytest.raises(ValueError, match="has no images of split 'valid'"):
        Dataset(str(pictures), split="valid").images(training=False)
    (tmp_path / "test").mkdir()
    write_image(tmp_path / "test" / "gray.png", torch.rand(1, 40, 30))
    elsewhere = Dataset(str(pictures), test_source=str(tmp_path))
    assert [item.name for item in elsewhere.images(training=False)] == ["test/gray.png"]
    assert elsewhere.images(training=True) == data.images(training=True)
    assert len(Dataset().images(training=True)) >= 5  # those that ship


def test_fingerprint_of_images_sees_pixels_and_labels_but_no_folder(pictures, tmp_path):
    items = Dataset(str(pictures)).images(training=True)
    copy = shutil.copytree(pictures, tmp_path / "copy")
    again = Dataset(str(copy)).images(training=True)
    assert fingerprint(items) == fingerprint(again) == fingerprint(again[::-1])
    assert fingerprint(items[1:]) != fingerprint(items)
    (copy / "train" / "blobs").rename(copy / "train" / "clouds")
    assert fingerprint(Dataset(str(copy)).images(training=True)) != fingerprint(items)
    (copy / "train" / "clouds").rename(copy / "train" / "blobs")
    write_image(copy / "train" / "blobs" / "blobs_0.png", torch.zeros(3, 20, 24))
    assert fingerprint(Dataset(str(copy)).images(training=True)) != fingerprint(items)
    digits = Dataset("digits", split="test").images(training=False)
    assert fingerprint(digits) != fingerprint(digits[1:])


def test_command_line(pictures, tmp_path, capsys):
    flags = [word for name, value in CONV.items() for word in (f"--backbone.{name}", str(value))]
    data = ["--data.source", str(pictures), "--seeds", "[3]", "--listen", "1", "--out", str(tmp_path / "out")]
    assert main(["compare", "small = VQ(dim, 8)", "--backbone", "conv", *flags, *data]) == 0
    assert "report.html" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [s["name"] for s in results["systems"]] == ["small"]
    assert results["budget"]["seeds"] == [3]
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    assert "bpp" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(("height", "left_out"), [(8, True), (12, False)])
def test_images_too_small_for_ssim_are_measured_without_it(pictures, tmp_path, capsys, height, left_out):
    flags = [word for name, value in {**CONV, "size": height}.items() for word in (f"--backbone.{name}", str(value))]
    data = ["--data.source", str(pictures), "--seeds", "[0]", "--out", str(tmp_path)]
    assert main(["compare", "small = VQ(dim, 8)", "--backbone", "conv", *flags, *data]) == 0
    line = "metrics: ssim is not measured: images must be at least 11 pixels high and wide, and have 8 × 8\n"
    assert (line in capsys.readouterr().out) is left_out
    results = json.loads((tmp_path / "results.json").read_text())
    assert (
        set(results["protocols"])
        == set(results["systems"][0]["metrics"])
        == (METRICS - {"ssim"} if left_out else METRICS)
    )
    assert ("SSIM" in (tmp_path / "report.md").read_text()) is not left_out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--backbone", "conv", "--backbone.hop_samples", "8"], "hop_samples"),
        (["--backbone", "conv", "--backbone.channels", "2"], "channels must be 1 or 3, got 2"),
        (["--backbone", "vit", "--backbone.patch", "5"], "patch must divide image_size"),
        (["--backbone", "conv", "--backbone.variance_weight", "0"], "one of l1_weight, l2_weight, perceptual_weight"),
        (["--backbone", "conv", "--data.source", "/nowhere"], "/nowhere"),
        (["--backbone", "conv", "--backbone.max_megapixels", "0"], "max_megapixels is 0, it must be more than 0"),
    ],
)
def test_bad_flags_are_one_line_and_exit_code_2(pictures, tmp_path, capsys, flags, message):
    source = [] if "--data.source" in flags else ["--data.source", str(pictures)]
    assert main(["compare", "VQ(dim, 8)", *flags, *source, "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.startswith("vqkit: ")
    assert errors.count("\n") == 1


def test_a_limit_of_pixels(pictures, tmp_path, monkeypatch):
    """It bears on what is read to train and to measure, and not on results, which are found again under another limit."""
    seen = []
    init = Images.__init__

    def noting(self, *args, **options):
        seen.append(options["max_megapixels"])
        init(self, *args, **options)

    monkeypatch.setattr(Images, "__init__", noting)
    asked = what(pictures, seeds=(0,), systems={"VQ": "VQ(dim, 8)"}, backbone={"max_megapixels": 3.5})
    out = compare(asked, tmp_path, "")
    assert len(seen) >= 4
    assert set(seen) == {3.5}
    assert asked.backbone.settings() == what(pictures).backbone.settings()
    assert "max_megapixels" not in (out / "results.json").read_text()


def test_nothing_need_be_shown(pictures, tmp_path):
    asked = what(pictures, seeds=(0,), listen=0, systems={"VQ": "VQ(dim, 8)"})
    results = json.loads((compare(asked, tmp_path, "") / "results.json").read_text())
    assert (results["images"], results["systems"][0]["reconstructions"]) == ([], {})


def test_an_interpolated_grid_is_measured_like_any_other(pictures, tmp_path):
    systems = {"LooC s=2": "LooC(dim, 8, 6, scale=2)"}
    out = compare(what(pictures, systems=systems, seeds=(0,)), tmp_path / "out", "vqkit compare")
    system = json.loads((out / "results.json").read_text())["systems"][0]
    assert system["bits_per_token"] == 24
    assert len(system["residual_energy"]) == 2
    assert system["pca"]["codes"][0]["points"]
