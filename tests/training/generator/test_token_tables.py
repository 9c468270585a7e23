"""A generator learns what ``vqkit tokenize`` wrote just as it learns .vqk files."""

from types import SimpleNamespace

import pytest
import torch

from vqkit import RVQ
from vqkit.cli import main
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
