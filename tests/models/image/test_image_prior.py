import pytest
import torch

from vqkit import RVQ
from vqkit.cli import main
from vqkit.data import write_image
from vqkit.models import ConvBackbone, ImageTokenizer
from vqkit.models.prior import codes_of, coding_cost, fit_prior


@pytest.fixture(scope="module")
def tokenizer():
    torch.manual_seed(0)
    made = ImageTokenizer(ConvBackbone(dim=8, width=4, residual_width=2, residual_blocks=1), RVQ(8, 16, 2)).eval()
    images = smooth(0, 96, 96)[None]
    made.initialize(images)
    made.quantizer.fit(made.analyze(images))
    return made


def smooth(seed, height, width):
    """Large areas of colour."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(1, 3, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(colours, (height, width), mode="bilinear")[0]


def test_the_context_saves_most(tokenizer):
    train = codes_of(tokenizer, [smooth(seed, 128, 160) for seed in range(4)])
    test = codes_of(tokenizer, [smooth(9, 120, 200), smooth(10, 64, 64)])
    priors = [None, *(fit_prior(tokenizer, train, coding) for coding in ("static", "context"))]
    costs = [coding_cost(prior, test) for prior in priors]
    assert [cost.coding for cost in costs] == ["plain", "static", "context"]
    assert costs[0].bits_per_code == pytest.approx(4, abs=0.01)
    assert costs[0].codes_rate == pytest.approx(8 / 16, abs=0.01)
    assert costs[2].codes_rate < costs[1].codes_rate <= costs[0].codes_rate
    assert all(cost.files_rate > cost.codes_rate for cost in costs)
    assert costs[2].tables_bytes == len(priors[2].to_bytes())
    assert priors[2].grid


def test_what_cannot_be(tokenizer):
    with pytest.raises(ValueError, match="there are no codes to fit a prior to"):
        fit_prior(tokenizer, [])
    with pytest.raises(ValueError, match="coding must be 'static', 'context' or 'network', got 'best'"):
        fit_prior(tokenizer, codes_of(tokenizer, [smooth(0, 8, 8)]), "best")
    with pytest.raises(ValueError, match="there are no codes to measure"):
        coding_cost(None, [])


def test_the_command(tokenizer, tmp_path, capsys):
    tokenizer.save_pretrained(tmp_path / "model")
    for split, count in (("train", 4), ("valid", 2)):
        for number in range(count):
            (tmp_path / "data" / split).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / "data" / split / f"{number}.png", smooth(number + 10 * count, 120, 100 + number))
    assert main(["fit-prior", str(tmp_path / "model"), str(tmp_path / "data"), "--megapixels", "1"]) == 0
    out = capsys.readouterr().out
    assert "0.5" in out.splitlines()[0]
    assert "4 images to fit, 2 held out" in out
    assert "prior.vqe: context, " in out
    loaded = ImageTokenizer.from_pretrained(tmp_path / "model")
    image = smooth(50, 120, 120)
    assert len(loaded.compress(image)) < len(loaded.compress(image, plain=True))
    words = ["fit-prior", str(tmp_path / "model"), str(tmp_path / "data")]
    assert main([*words, "--megapixels", "1", "--max-megapixels", "0.01"]) == 2
    assert "120 pixels, allowed are at least 1 and at most 0.01 megapixels" in capsys.readouterr().err
    assert main(["fit-prior", str(tmp_path / "model"), str(tmp_path / "data/valid/0.png")]) == 2
    assert "has 1 images to fit and none to measure; at least two are needed" in capsys.readouterr().err
