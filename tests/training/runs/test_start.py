from pathlib import Path

import pytest
import torch

from vqkit import RVQ
from vqkit.models import SpectralCodec
from vqkit.models.loading import SHIPPED
from vqkit.quantize.codebook import Codebook
from vqkit.training.runs.start import start_from


def codec(width: int = 8, **options: object) -> SpectralCodec:
    return SpectralCodec(
        RVQ(8, 16, 2, **{"update": "gradient", "init": "uniform", "revive": "none", **options}),
        hop_samples=32,
        encoder_width=width,
        encoder_blocks=1,
        decoder_width=8,
        decoder_blocks=1,
    )


def test_a_run_begins_with_the_saved_weights_and_their_codes_as_averages(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = codec().half()
    saved.save_pretrained(tmp_path)
    fresh = codec(update="ema", revive="restart")
    start_from(fresh, str(tmp_path))
    for name, value in saved.state_dict().items():
        assert torch.equal(fresh.state_dict()[name].to(value.dtype), value), name
    assert {value.dtype for value in fresh.parameters()} == {torch.float32}
    book = next(part for part in fresh.modules() if isinstance(part, Codebook))
    assert torch.equal(book.ema_sum, book.weight)
    assert torch.equal(book.ema_count, torch.ones(16))
    wav = torch.randn(1, 1, 640)
    assert torch.equal(fresh.eval().encode(wav), saved.float().eval().encode(wav))


def test_a_model_of_other_sizes_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    codec(width=12).save_pretrained(tmp_path)
    fresh = codec()
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    with pytest.raises(ValueError, match="does not fit the one to be trained: encoder.* differs"):
        start_from(fresh, str(tmp_path))
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())


@pytest.mark.parametrize(("name", "folder"), [("shipped", SHIPPED.name), ("vqkit-codec-16khz", "vqkit-codec-16khz")])
def test_models_that_ship_have_names(name: str, folder: str) -> None:
    with pytest.raises(ValueError, match=f"{folder} does not fit"):
        start_from(codec(), name)


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    saved = codec()
    with torch.no_grad():
        saved.encoder.enter.weight[0, 0] = torch.nan
    saved.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"model\.safetensors: encoder\.enter\.weight holds NaN or Inf"):
        start_from(codec(), str(tmp_path))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    codec().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file"):
        start_from(codec(), str(tmp_path))
