"""Model folders from elsewhere: whatever stands in the two files, loading works or is refused in one line, soon and without much memory."""

import json
import math
import time

import pytest
import safetensors.torch
import torch
from transformers import EncodecConfig, EncodecModel

from vqkit import FSQ, IVQ, LFQ, RVQ, VQ, Interpolated, LooC, Product, Quantizer, Residual, ResidualFSQ
from vqkit.cli import main
from vqkit.models import (
    AudioCodec,
    ConvBackbone,
    DacCodec,
    ImageTokenizer,
    LappedBackbone,
    SpectralCodec,
    TransformBackbone,
    ViTBackbone,
    VQGANBackbone,
    load_codec,
)
from vqkit.models.audio.frames import FrameCodec
from vqkit.models.audio.rates import MAX_SAMPLE_RATE


def quantizer():
    return RVQ(8, 4, 2)


MODELS = {
    "SpectralCodec": lambda: SpectralCodec(
        quantizer(), hop_samples=8, encoder_width=8, decoder_width=8, encoder_blocks=1, decoder_blocks=1
    ),
    "AudioCodec": lambda: AudioCodec(
        quantizer(),
        num_filters=2,
        strides=(2, 2),
        num_lstm_layers=1,
        layers={"num_residual_layers": 1, "kernel_size": 3},
    ),
    "DacCodec": lambda: DacCodec(quantizer(), num_filters=2, decoder_filters=4, strides=(2, 2)),
    "FrameCodec": lambda: FrameCodec(quantizer()),
    "Conv": lambda: ImageTokenizer(ConvBackbone(8, width=4, residual_width=2, residual_blocks=1), quantizer()),
    "ViT": lambda: ImageTokenizer(
        ViTBackbone(8, image_size=8, patch=4, tokens=2, width=4, depth=1, heads=1), quantizer()
    ),
    "VQGAN": lambda: ImageTokenizer(VQGANBackbone(8, widths=(4, 4), norm_groups=2, blocks=1), quantizer()),
    "Transform": lambda: ImageTokenizer(
        TransformBackbone(8, width=4, encoder_blocks=(1, 1), decoder_blocks=(1, 1)), quantizer()
    ),
    "Lapped": lambda: ImageTokenizer(LappedBackbone(8), quantizer()),
    "VQ": lambda: VQ(8, 4, update="ema"),
    "RVQ": quantizer,
    "FSQ": lambda: FSQ(4, [3, 3]),
    "LFQ": lambda: LFQ(4, 3),
    "ResidualFSQ": lambda: ResidualFSQ(4, [3, 3], 2),
    "IVQ": lambda: IVQ(12, pieces=[1, 2]),
    "LooC": lambda: LooC(8, 4, 2, scale=2),
    "combined": lambda: Residual([Interpolated(Product.shared(VQ(4, 4), 2)), Product([VQ(4, 4), VQ(4, 4)])]),
}
HARMLESS = (  # numbers of a loss or of learning, which no tensor has the size of
    *(
        "stage_dropout",
        "decay",
        "restart_threshold",
        "commitment_weight",
        "codebook_weight",
        "entropy_weight",
        "diversity",
    ),
    *("temperature", "beta", "hierarchy_weight", "structure_weight", "scale", "whitening"),
)


def load(name, folder):
    made = MODELS[name]
    kind = Quantizer if isinstance(made(), Quantizer) else type(made())
    return kind.from_pretrained(folder)


def settings(config, path=()):
    """Paths to the numbers and to the lists of numbers in a config."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from settings(value, (*path, key))
    elif isinstance(config, list) and config and isinstance(config[0], dict):
        for key, value in enumerate(config):
            yield from settings(value, (*path, key))
    elif isinstance(config, (int, list)) and not isinstance(config, bool):
        yield path


@pytest.mark.parametrize("name", MODELS)
def test_sizes_of_any_kind_are_refused_in_one_line(name, tmp_path, bounded):
    torch.manual_seed(0)
    MODELS[name]().save_pretrained(tmp_path)
    load(name, tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    found = [where for where in settings(config) if where[-1] not in HARMLESS and where[0] != "quantizer"]
    assert found
    for where in found:
        for value in (10**12, 10**6, -1, 1.5, "8", [10**9], {"class": "VQ"}, float("nan")):
            changed = json.loads(json.dumps(config))
            place = changed
            for key in where[:-1]:
                place = place[key]
            place[where[-1]] = value
            path.write_text(json.dumps(changed))
            if where[-1] == "sample_rate" and value == 10**6:
                continue  # a rate
            with bounded(seconds=8, megabytes=1500), pytest.raises(ValueError, match=r"\S") as caught:
                load(name, tmp_path)
            assert "\n" not in str(caught.value)
            assert str(tmp_path) in str(caught.value)


def spoil(folder, wanted, value):
    state = safetensors.torch.load_file(folder / "model.safetensors")
    found = next(key for key in state if key.endswith(wanted))
    state[found].flatten()[-1] = value
    safetensors.torch.save_file(state, folder / "model.safetensors")
    return found


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_no_number_is_named(tmp_path, value):
    MODELS["SpectralCodec"]().save_pretrained(tmp_path)
    name = spoil(tmp_path, "encoder.enter.weight", value)
    with pytest.raises(ValueError, match=rf"model\.safetensors: {name} holds NaN or Inf"):
        load_codec(tmp_path)
    VQ(8, 4).half().save_pretrained(tmp_path / "half")
    name = spoil(tmp_path / "half", "weight", value)
    with pytest.raises(ValueError, match=f"{name} holds NaN or Inf"):
        VQ.from_pretrained(tmp_path / "half")


@pytest.mark.parametrize("rate", [0, -1, MAX_SAMPLE_RATE + 1, 16000.5, math.nan, math.inf, "16000"])
@pytest.mark.parametrize("name", ["SpectralCodec", "AudioCodec", "DacCodec", "FrameCodec"])
def test_rates_that_are_none_are_refused(name, rate):
    kind = type(MODELS[name]())
    with pytest.raises(ValueError, match="sample_rate must be at least 1 Hz, at most 1048576 and whole, got "):
        kind(quantizer(), sample_rate=rate)


def test_what_no_weight_shows_is_bounded_too(tmp_path):
    with pytest.raises(ValueError, match=r"a dilation_growth_rate .* at most 4096, got 65 and 3"):
        AudioCodec(quantizer(), num_filters=2, layers={"num_residual_layers": 3, "dilation_growth_rate": 65})
    AudioCodec(quantizer(), num_filters=2, layers={"num_residual_layers": 3, "dilation_growth_rate": 64})
    with pytest.raises(ValueError, match="a dilation_growth_rate of at least 1"):
        AudioCodec(quantizer(), num_filters=2, layers={"dilation_growth_rate": 0})
    many = {"class": "Product", "arguments": {"pieces": [{"class": "VQ", "arguments": {"dim": 1, "codebook_size": 4}}]}}
    VQ(1, 4).save_pretrained(tmp_path)
    many["arguments"]["repeats"] = 1_000_000
    (tmp_path / "config.json").write_text(json.dumps(many))
    with pytest.raises(ValueError, match=r"config\.json: Product has 1000000 codes a vector, allowed are 65536"):
        Quantizer.from_pretrained(tmp_path)


def test_a_prior_beside_the_weights_is_bounded(tmp_path):
    MODELS["SpectralCodec"]().save_pretrained(tmp_path)
    with (tmp_path / "prior.vqe").open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(ValueError, match=r"prior\.vqe is not a prior: 1099511627776 bytes, allowed are 67108864"):
        load_codec(tmp_path)


def test_a_nested_config_ends_at_once(tmp_path, bounded):
    VQ(1, 4).save_pretrained(tmp_path)
    one = {"class": "VQ", "arguments": {"dim": 1, "codebook_size": 4}}
    deep = one
    for _ in range(200):
        deep = {"class": "Residual", "arguments": {"stages": [deep]}}
    (tmp_path / "config.json").write_text(json.dumps(deep))
    with bounded(), pytest.raises(ValueError, match="more than 64 objects and lists within each other"):
        Quantizer.from_pretrained(tmp_path)
    wide = {"class": "Residual", "arguments": {"stages": [one] * 10_000}}
    (tmp_path / "config.json").write_text(json.dumps(wide))
    with bounded(), pytest.raises(ValueError, match=r"it takes more than 4\d{3} steps to build"):
        Quantizer.from_pretrained(tmp_path)


def test_the_command_line_says_it_in_one_line(tmp_path, capsys):
    MODELS["SpectralCodec"]().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    sound = tmp_path / "x.wav"
    sound.write_bytes(b"")
    for changes, message in [
        ({"encoder_width": 10**12}, "numbers must be finite and below 2^31"),
        ({"encoder_blocks": 10**6}, "steps to build: too many parts"),
        ({"quantizer": "RVQ"}, "quantizer of SpectralCodec must be Quantizer, got 'RVQ'"),
        ({"class": "\x1b[31mEvil\n"}, r"holds a \x1b[31mEvil; codecs known here"),
    ]:
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        assert main(["encode", str(sound), str(tmp_path / "x.vqk"), "--model", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


@pytest.fixture
def published(tmp_path):
    """A small EnCodec checkpoint as transformers publishes them."""
    shape = {"num_filters": 2, "hidden_size": 8, "codebook_dim": 8, "codebook_size": 4, "upsampling_ratios": [2, 2]}
    EncodecModel(EncodecConfig(target_bandwidths=[1.5], sampling_rate=400, **shape)).save_pretrained(tmp_path)
    return tmp_path


def test_checkpoints_of_other_libraries_are_bounded_too(published, bounded):
    AudioCodec.from_encodec(published, quantizer())
    path = published / "config.json"
    config = json.loads(path.read_text())
    for changes, message in [
        ({"num_filters": 10**12}, "numbers must be finite and below 2"),
        ({"num_filters": 10**5}, "it needs more than the"),
        ({"codebook_size": 2**30, "target_bandwidths": [100.0]}, "it needs more than the"),
        ({"num_lstm_layers": 10**6}, "too many parts"),
        ({"upsampling_ratios": "x"}, r"is not an EnCodec checkpoint in safetensors: .*config\.json: "),
    ]:
        path.write_text(json.dumps({**config, **changes}))
        with bounded(), pytest.raises(ValueError, match=message) as caught:
            AudioCodec.from_encodec(published, quantizer())
        assert "\n" not in str(caught.value)
    path.write_text(json.dumps(config))
    spoil(published, "decoder.layers.0.conv.bias", math.nan)
    with pytest.raises(ValueError, match=r"model\.safetensors: decoder.layers.0.conv.bias holds NaN or Inf"):
        AudioCodec.from_encodec(published, quantizer())


def test_what_ships_still_loads_soon():
    load_codec()
    start = time.process_time()
    load_codec()
    assert time.process_time() - start < 3
