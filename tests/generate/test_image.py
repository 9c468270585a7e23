"""Images of a class: the command makes the grid that was asked for, the same for the same seed, and says in a line what is wrong."""

import json
import subprocess
import sys

import pytest
import torch

from vqkit import IVQ, RVQ, VQ, Multiscale
from vqkit.cli import main
from vqkit.data import read_image
from vqkit.generate import ImageGenerator, image_grid
from vqkit.models import ConvBackbone, ImageTokenizer, TokenGenerator
from vqkit.models.generator.packing import StagePacking
from vqkit.models.generator.patterns import NextScale, Parallel
from vqkit.models.generator.picture_tokens import picture_codes, scale_grids, write_pictures
from vqkit.models.identity import weight_hash
from vqkit.training.generator.token_streams import list_tokens, read_streams


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image-generator")
    torch.manual_seed(0)
    tokenizer = ImageTokenizer(
        ConvBackbone(12, width=8, residual_width=4), IVQ(12, pieces=(6, 1), init="uniform")
    ).eval()
    tokenizer.initialize(torch.rand(4, 3, 16, 16))
    generator = TokenGenerator(
        (64, 64),
        Parallel(),
        width=16,
        layers=1,
        heads=2,
        depth_layers=1,
        window=16,
        grid=(4, 4),
        classes=["cat", "dog"],
    )
    torch.nn.init.normal_(generator.class_embedding.weight)
    torch.nn.init.normal_(generator.heads.out.weight)
    generator.tokens_of = weight_hash(tokenizer)
    generator.save_pretrained(folder / "generator")
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder


def generate(saved, out, *words):
    return main(["generate", "image", "--model", str(saved), "--out", str(out), "--quiet", *words])


def test_the_command_makes_a_grid(saved, tmp_path, capsys):
    assert (
        generate(saved, tmp_path / "a.png", "--class", "cat", "--count", "6", "--columns", "3", "--json", "--seed", "2")
        == 0
    )
    assert json.loads(capsys.readouterr().out)["images"] == 6
    grid = read_image(tmp_path / "a.png")
    assert grid.shape == (3, 2 * 18 + 2, 3 * 18 + 2)
    assert (grid[:, :2] == 1).all()
    for name, words in (
        ("again", ["--class", "cat", "--seed", "2"]),
        ("seed", ["--class", "cat", "--seed", "3"]),
        ("class", ["--class", "dog", "--seed", "2"]),
        ("none", ["--seed", "2"]),
    ):
        assert generate(saved, tmp_path / f"{name}.png", "--count", "6", "--columns", "3", *words) == 0
    again, *others = (read_image(tmp_path / f"{name}.png") for name in ("again", "seed", "class", "none"))
    assert torch.equal(again, grid)
    assert all(not torch.equal(other, grid) for other in others)


def test_two_classes_have_a_row_each(saved, tmp_path):
    assert (
        generate(saved, tmp_path / "a.png", "--class", "cat", "--class", "dog", "--count", "5", "--enlarge", "2") == 0
    )
    assert read_image(tmp_path / "a.png").shape == (3, 2 * 34 + 2, 5 * 34 + 2)


def test_images_are_those_that_the_codes_stand_for(saved):
    """Ids, packed hexagrams, become the tokenizer's own codes, cell by cell."""
    makes = ImageGenerator.from_folder(saved)
    images = makes(2, "dog", seed=4)
    ids = makes.generator.generate(16, classes=torch.tensor([1, 1]), seed=4)
    codes = torch.cat([makes.tokenizer.quantizer.from_hexagrams(ids)], dim=-1).transpose(1, 2).reshape(2, 7, 4, 4)
    assert torch.equal(images, makes.tokenizer.decode(codes))
    assert images.shape == (2, 3, 16, 16)


def test_one_image_is_one(saved, tmp_path, capsys):
    words = ["generate", "image", "--model", str(saved), "--out", str(tmp_path / "a.png"), "--count", "1"]
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("a.png: 1 image, seed 0\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--class", "cow"], "class 'cow' does not exist: this generator has cat, dog"),
        (["--count", "0"], "count must be at least 1, got 0"),
        (["--temperature", "-1"], "temperature must be finite and at least 0, got -1.0"),
        (["--guidance", "3"], "guidance=3.0 needs a class or a condition"),
        (["--device", "nowhere"], "device 'nowhere' cannot be used"),
        (["--columns", "0"], "columns and enlarge must be at least 1, got 0 and 1"),
    ],
)
def test_errors_are_one_line(saved, tmp_path, capsys, words, message):
    assert generate(saved, tmp_path / "a.png", *words) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "a.png").exists()


def test_an_output_that_exists_is_kept_unless_forced(saved, tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"mine")
    assert generate(saved, tmp_path / "a.png") == 2
    assert "a.png exists already; -f overwrites it" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert generate(saved, tmp_path / "a.png", "-f") == 0
    assert read_image(tmp_path / "a.png").shape[0] == 3


def test_a_suffix_or_folder_that_is_none(saved, tmp_path, capsys):
    assert generate(saved, tmp_path / "a.bmp") == 2
    assert "allowed suffixes are .png" in capsys.readouterr().err
    assert generate(tmp_path / "nowhere", tmp_path / "a.png") == 2
    assert "is no folder with a generator/ and a tokenizer/" in capsys.readouterr().err
    assert generate(saved, tmp_path / "none" / "a.png") == 2
    assert f"no such folder: {tmp_path / 'none'}" in capsys.readouterr().err
    assert generate(f"{saved}/generator", tmp_path / "a.png") == 2
    assert "has no tokenizer/; --tokenizer FOLDER names one" in capsys.readouterr().err


def test_models_that_do_not_fit_together(saved):
    makes = ImageGenerator.from_folder(saved)
    other = ImageTokenizer(ConvBackbone(12, width=8, residual_width=4), IVQ(12, pieces=(6, 1), init="uniform")).eval()
    with pytest.raises(ValueError, match="learned codes of other weights .* they do not fit together"):
        ImageGenerator(makes.generator, other)
    makes.generator.tokens_of = ""
    with pytest.raises(ValueError, match="they do not fit together"):
        ImageGenerator(makes.generator, ImageTokenizer(ConvBackbone(12, width=8), RVQ(12, 16, 2)))
    generator = TokenGenerator((64, 64), width=16, layers=1, heads=2)
    with pytest.raises(ValueError, match="the generator's grid is"):
        ImageGenerator(generator, other)


def test_pictures_in_one_file_are_streams_with_labels(saved, tmp_path):
    tokenizer = ImageTokenizer.from_pretrained(saved / "tokenizer")
    images = torch.rand(5, 3, 16, 16)
    codes = picture_codes(tokenizer, images, batch=2)
    labels = ["cat", "dog", "dog", "a b", "cat"]
    write_pictures(tmp_path / "train" / "all.vqk", tokenizer, codes, (16, 16), labels=labels)
    streams = read_streams(list_tokens(tmp_path, "train"), True, None, None, None)
    assert [stream.label for stream in streams] == labels
    packing = StagePacking.of_stages(tokenizer.quantizer)
    for index, stream in enumerate(streams):
        expected = tokenizer.encode(images[index : index + 1])[0].flatten(1).T
        assert torch.equal(packing.unpack(stream.ids.long()), expected)
    with pytest.raises(ValueError, match="there are 1 labels for 5 pictures"):
        write_pictures(tmp_path / "b.vqk", tokenizer, codes, (16, 16), labels=["cat"])


def test_grid_places_images_row_by_row():
    images = torch.arange(5.0).view(5, 1, 1, 1).expand(-1, 1, 2, 2) / 8
    grid = image_grid(images, columns=3, gap=1)
    assert grid.shape == (1, 7, 10)
    assert grid[0, 1, [1, 4, 7]].tolist() == [0, 0.125, 0.25]
    assert grid[0, 4, [1, 4, 7]].tolist() == [0.375, 0.5, 1]


def test_help_needs_no_torch():
    code = "import sys; from vqkit.cli import main\ntry: main(['generate', '--help'])\nexcept SystemExit: pass\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_scales_become_pictures(tmp_path):
    """Codes of pictures → a token file of grids, from coarse to fine → the streams of a next-scale generator → pictures again."""
    torch.manual_seed(0)
    scales = Multiscale([VQ(12, 8, init="uniform")], sizes=(1, 2, 4), spatial_dims=2)
    tokenizer = ImageTokenizer(ConvBackbone(12, channels=1, width=8, residual_width=4), scales).eval()
    images = torch.rand(3, 1, 16, 16)
    codes = picture_codes(tokenizer, images)
    assert codes.shape == (3, 21, 1)
    write_pictures(tmp_path / "train" / "a.vqk", tokenizer, codes, (16, 16), labels=["x", "y", "x"])
    streams = read_streams(list_tokens(tmp_path), False, None, None, None)
    assert [stream.label for stream in streams] == ["x", "y", "x"]
    assert torch.equal(torch.stack([stream.ids for stream in streams]).long(), codes)
    assert streams[0].header.model_hash == weight_hash(tokenizer)
    pattern = NextScale(scale_grids(scales, (4, 4)))
    generator = TokenGenerator((8,), pattern, width=16, layers=1, heads=2, window=21)
    makes = ImageGenerator(generator, tokenizer)
    generator.generate = lambda *_, **__: codes
    assert torch.equal(makes(3), tokenizer(images).images.clamp(0, 1))
    for wrong, message in (
        (TokenGenerator((8,), width=16, layers=1, heads=2, grid=(4, 4)), "NextScale and Multiscale belong together"),
        (
            TokenGenerator((8,), NextScale([(2, 2), (4, 4)]), width=16, layers=1, heads=2, window=20),
            "the generator's grids",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            ImageGenerator(wrong, tokenizer)
