"""A generator learns what ``vqkit tokenize`` wrote just as it learns .vqk files."""

from types import SimpleNamespace

import pytest
import torch
import yaml

from vqkit import RVQ
from vqkit.cli import main
from vqkit.data.token_files import TokenFiles
from vqkit.models import ConvBackbone, ImageTokenizer, TokenGenerator
from vqkit.models.generator.patterns import Parallel
from vqkit.models.identity import weight_hash
from vqkit.tokenize import TokenDataset
from vqkit.training import GeneratorDataModule, GeneratorModule, train
from vqkit.training.generator.token_tables import table_streams


@pytest.fixture(scope="module")
def tokens(tmp_path_factory, blob_images):
    folder = tmp_path_factory.mktemp("tokenized")
    torch.manual_seed(0)
    tokenizer = ImageTokenizer(ConvBackbone(8, width=8, residual_width=4), RVQ(8, 16, 2, init="uniform")).eval()
    tokenizer.initialize(torch.rand(4, 3, 16, 16))
    tokenizer.save_pretrained(folder / "model")
    words = ["tokenize", str(blob_images), str(folder / "tokens"), "--model", str(folder / "model"), "-j", "1", "-q"]
    assert main(words) == 0
    return folder


def test_a_generator_trains_on_tokenized_images(tokens, tmp_path):
    dataset = TokenDataset(tokens / "tokens")
    grid = tuple(dataset[0].codes.shape[:2])
    generator = TokenGenerator((16, 16), Parallel(), width=16, layers=1, heads=2, window=grid[0] * grid[1], grid=grid)
    data = GeneratorDataModule(dataset, frames=generator.window, batch_size=2)
    assert [len(data.streams(split)) for split in ("train", "valid")] == [5, 3]
    stream = data.streams("train")[0]
    expected = next(item for item in (dataset[i] for i in range(8)) if item.key == stream.name)
    assert torch.equal(stream.ids.long(), expected.codes.flatten(0, 1))
    made = train(
        GeneratorModule(generator),
        data,
        folder=str(tmp_path),
        steps=2,
        save_every=2,
        validate_every=2,
        accelerator="cpu",
        progress=False,
    )
    tokenizer = ImageTokenizer.from_pretrained(tokens / "model")
    assert TokenGenerator.from_pretrained(made).tokens_of == weight_hash(tokenizer)


def test_first_stages_and_packing():
    about = {"class": "M", "weight_hash": "ab", "code_sizes": [4, 2, 2], "codes_per_stage": [1, 2]}
    items = [
        SimpleNamespace(codes=torch.tensor([[3, 1, 0], [2, 0, 1]]), key=f"{split}/up/{i}.wav")
        for i, split in enumerate(("train", "test"))
    ]

    class Table(list):
        manifest = {"models": {"sound": about}}  # noqa: RUF012

    stream = table_streams(Table(items), "test", packed=True)[0]
    assert stream.ids.tolist() == [[3, 2], [2, 1]]
    assert (stream.label, stream.header.codes_per_stage) == ("up", (1, 2))
    first = [SimpleNamespace(codes=item.codes[:, :1], key=item.key) for item in items]
    assert table_streams(Table(first), None, packed=True)[0].header.code_sizes == (4,)
    with pytest.raises(ValueError, match="no items of split 'valid'; there is 'test', 'train'"):
        table_streams(Table(items), "valid", packed=True)
    two = Table(items)
    two.manifest = {"models": {"sound": about, "images": about}}
    with pytest.raises(ValueError, match="the tokens are of 2 models"):
        table_streams(two, None, packed=True)
    with pytest.raises(ValueError, match="conditions belong to files"):
        GeneratorDataModule(Table(items), frames=4, conditions="x", bridge=object())


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_the_command_trains_on_what_tokenize_wrote(tokens, blob_images, tmp_path, capsys, form):
    """A folder is enough, whatever its form; a class with options of its own is an alternative."""
    out = tmp_path / "tokens"
    words = [str(blob_images), str(out), "--model", str(tokens / "model"), "--format", form, "--items-per-shard", "3"]
    assert main(["tokenize", *words, "-j", "1", "-q", "--vqk"]) == 0
    whole, files = TokenDataset(out), TokenFiles(out)
    assert len(whole) == len(files) == 8
    assert all(a.key == b.key and torch.equal(a.codes, b.codes) for a, b in zip(whole, files, strict=True))
    assert [item.key for item in TokenDataset(out, kind="images")] == [item.key for item in whole]
    side = whole[0].codes.shape[0]
    recipe = {
        "model": {
            "class_path": "vqkit.training.GeneratorModule",
            "init_args": {
                "generator": {
                    "class_path": "vqkit.models.TokenGenerator",
                    "init_args": {"code_sizes": [16, 16], "width": 16, "layers": 1, "heads": 2, "window": side**2},
                }
            },
        },
        "data": {"class_path": "vqkit.training.GeneratorDataModule", "init_args": {"frames": 4, "batch_size": 2}},
        "steps": 2,
        "progress": False,
        "accelerator": "cpu",
    }
    by_class = {"class_path": "vqkit.tokenize.TokenDataset", "init_args": {"folder": str(out), "kind": "images"}}
    for name, source in (("folder", str(out)), ("class", by_class)):
        recipe["data"]["init_args"]["source"] = source
        path = tmp_path / f"{form}-{name}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        command = ["train", "--config", str(path), "--folder", str(tmp_path / name)]
        assert main(command) == 0, capsys.readouterr().err
        tokens_of = TokenGenerator.from_pretrained(tmp_path / name / "generator").tokens_of
        assert tokens_of == weight_hash(ImageTokenizer.from_pretrained(tokens / "model"))
    capsys.readouterr()
    (out / "manifest.json").unlink()
    assert main([*command, "--data.source", str(out), "--resume", "no"]) == 2
    assert "holds no manifest.json: it is no finished run of vqkit tokenize" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([*command, "--data.source", str(tmp_path / "empty"), "--resume", "no"]) == 2
    assert "and is no folder that `vqkit tokenize` wrote" in capsys.readouterr().err
    with pytest.raises(ValueError, match="conditions belong to files"):
        GeneratorDataModule(str(tokens / "tokens"), frames=4, conditions="x", bridge=object())


def test_of_several_kinds_one_is_named():
    class Table(list):
        manifest = {"models": {"sound": {}, "images": {}}}  # noqa: RUF012

    with pytest.raises(ValueError, match="the tokens are of 2 models.*TokenDataset with kind 'sound' or 'images'"):
        table_streams(Table(), None, packed=True)
