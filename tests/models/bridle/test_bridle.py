"""`Bridle`: shapes, parameters counted on paper, both readings of the paper, saving, and transformers' models."""

import pytest
import torch
from torch.nn import functional as F

from vqkit import FSQ, IVQ, RVQ, VQ, LooC, RandomProjection, Residual
from vqkit.models import Bridle
from vqkit.models.bridle import Stack, preset
from vqkit.models.bridle.normalised import Normalised, each_stage_normalised
from vqkit.models.bridle.positions import position_table

SIZES = {"encoder": Stack(24, 2, 2), "predictor": Stack(16, 2, 2), "estimator": Stack(16, 1, 2)}


def small(modality="audio", quantizer=None, **options):
    torch.manual_seed(0)
    shapes = {
        "audio": {"size": (64, 16), "patch": (8, 8)},
        "image": {"size": (16, 16), "patch": (4, 4), "channels": 3},
        "video": {"size": (4, 16, 16), "patch": (2, 8, 8), "channels": 3},
    }
    quantizer = RVQ(8, 16, 2, revive="none") if quantizer is None else quantizer
    return Bridle(modality, quantizer=quantizer, **{**SIZES, **shapes[modality], **options}).eval()


def signal(modality, batch=2, seconds=0.655):
    generator = torch.Generator().manual_seed(1)
    if modality == "audio":
        return torch.randn(batch, 1, int(16000 * seconds), generator=generator) / 10
    shape = (3, 16, 16) if modality == "image" else (3, 4, 16, 16)
    return torch.rand(batch, *shape, generator=generator)


@pytest.mark.parametrize(("modality", "places"), [("audio", 16), ("image", 16), ("video", 8)])
def test_features_and_tokens(modality, places, tmp_path):
    bridle, x = small(modality), signal(modality)
    features, tokens = bridle.features(x), bridle.tokens(x)
    assert features.shape == (2, places, 24)
    assert tokens.shape == (2, places, 2)
    assert 0 <= tokens.min() <= tokens.max() < 16
    torch.testing.assert_close(bridle.pooled(x), features.mean(1))
    times = {"audio": 8, "image": 1, "video": 2}[modality]
    torch.testing.assert_close(bridle.pooled(x, over="time"), features.view(2, times, -1).mean(1))
    with pytest.raises(ValueError, match="over must be 'all' or 'time', got 'bands'"):
        bridle.pooled(x, over="bands")
    bridle.save_pretrained(tmp_path)
    again = Bridle.from_pretrained(tmp_path)
    assert torch.equal(again.features(x), features)
    assert torch.equal(again.tokens(x), tokens)


def linear(inputs, outputs, bias=True):
    return inputs * outputs + bias * outputs


def block(width, video=False):
    """Attention, MLP of four widths, two layer norms; VideoMAE's keys have no bias."""
    return 4 * linear(width, width) - video * width + linear(width, 4 * width) + linear(4 * width, width) + 4 * width


@pytest.mark.parametrize(
    ("name", "values", "cls", "predictor", "estimator"),
    [
        ("audio-base", 256, 768, (512, 16), (768, 3)),
        ("image-base", 768, 768, (512, 16), (768, 3)),
        ("video-base", 1536, 0, (384, 4), (384, 4)),
    ],
)
def test_parameters_of_the_published_size(name, values, cls, predictor, estimator):
    with torch.device("meta"):
        bridle = preset(name)
    count = {
        part: sum(p.numel() for p in getattr(bridle, part).parameters())
        for part in ("encoder", "predictor", "estimator")
    }
    video = name.startswith("video")
    encoder = linear(values, 768) + cls + 12 * block(768, video) + 2 * 768
    width, depth = predictor
    assert count["encoder"] == encoder
    assert count["predictor"] == linear(768, width) + width + depth * block(width, video) + 2 * width + linear(
        width, 1024
    )
    width, depth = estimator
    assert count["estimator"] == linear(256, width) + depth * block(width, video) + 2 * width + linear(width, 768)
    tokenizer = sum(parameter.numel() for parameter in bridle.tokenizer.parameters())
    assert tokenizer == encoder + linear(768, 768) + linear(768, 256) + linear(768, 256, bias=False)
    assert bridle.quantizer.codebook_numel == 4 * 256 * 256
    # ViT-B of the paper: 86 M with its head's norm
    assert name != "audio-base" or encoder == 85_254_144


def test_token_grids_of_the_paper():
    for name, grid in {"audio-base": (64, 8), "image-base": (14, 14), "video-base": (8, 14, 14)}.items():
        with torch.device("meta"):
            bridle = preset(name)
        assert bridle.grid == grid
        assert bridle.places == torch.tensor(grid).prod()


def test_long_sound_is_taken_part_by_part_and_ends_are_respected():
    bridle, x = small(), signal("audio", seconds=1.2)
    features = bridle.features(x)
    assert features.shape[1] == -(-(1 + (19200 - 400) // 160) // 8) * 2
    torch.testing.assert_close(features[:, :16], bridle.features(x[..., : 400 + 63 * 160]), atol=1e-1, rtol=0)
    lengths = torch.tensor([x.shape[-1], 9000])
    padded = x.clone()
    padded[1, :, 9000:] = 0
    both = bridle.features(padded, lengths)
    rows = -(-(1 + (9000 - 400) // 160) // 8)
    assert both[1, rows * 2 :].abs().max() == 0
    assert both[1, : rows * 2].abs().min() > 0
    pooled = bridle.pooled(padded, lengths)
    torch.testing.assert_close(pooled[1], both[1, : rows * 2].mean(0))
    bands = both[1, : rows * 2].view(rows, -1).mean(0)  # two bands
    torch.testing.assert_close(bridle.pooled(padded, lengths, over="time")[1], bands)
    assert (bridle.tokens(padded, lengths)[1, rows * 2 :] == -1).all()
    # what stands behind the end changes nothing
    loud = padded.clone()
    loud[1, 0, 9000:] = 0.5 * torch.sin(torch.arange(x.shape[-1] - 9000.0))
    torch.testing.assert_close(bridle.pooled(loud, lengths)[1], pooled[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(bridle.pooled(x[1:, :, :9000])[0], pooled[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("call", ["features", "pooled", "tokens"])
@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        (torch.tensor([9000, 0]), ValueError, "lengths must be in 1520 … 9600 samples, .* got .9000, 0."),
        (torch.tensor([9000, -5]), ValueError, "got .9000, -5."),
        (torch.tensor([9000, 100]), ValueError, "got .9000, 100."),
        (torch.tensor([9000, 9601]), ValueError, "got .9000, 9601."),
        (torch.tensor([9000]), TypeError, "lengths must be 2 integers, got torch.int64 of shape .1,"),
        (torch.tensor(9000), TypeError, "lengths must be 2 integers, got torch.int64 of shape ()"),
        (torch.tensor([9000.0, 9000.0]), TypeError, "lengths must be 2 integers, got torch.float32"),
        ([9000, 9000], TypeError, "lengths must be a tensor of 2 integers, got list"),
    ],
)
def test_lengths_are_checked(call, lengths, error, message):
    with pytest.raises(error, match=message):
        getattr(small(), call)(signal("audio", seconds=0.6), lengths)


def test_lengths_of_every_integer_dtype_and_nan_behind_an_end():
    bridle, x = small(), signal("audio", seconds=0.6)
    x[1, :, 9000:] = torch.nan
    wanted = bridle.features(x.nan_to_num(), torch.tensor([9600, 9000]))
    for dtype in (torch.int16, torch.int32, torch.uint16):
        assert torch.equal(bridle.features(x, torch.tensor([9600, 9000], dtype=dtype)), wanted)


@pytest.mark.parametrize("call", ["features", "pooled", "tokens"])
@pytest.mark.parametrize(("modality", "name"), [("audio", "sound"), ("image", "image"), ("video", "video")])
def test_nan_and_other_scales_are_refused(call, modality, name):
    bridle, x = small(modality), signal(modality)
    broken = x.clone()
    broken[1].view(-1)[7] = torch.nan
    with pytest.raises(ValueError, match=f"{name} has NaN or Inf, it must be finite"):
        getattr(bridle, call)(broken)
    with pytest.raises(ValueError, match=f"{name} reaches "):
        getattr(bridle, call)(255 * x)


@pytest.mark.parametrize("modality", ["audio", "image", "video"])
def test_transformers_has_the_same_encoder(modality):
    bridle, x = small(modality), signal(modality)
    theirs, pixels = bridle.to_transformers(), bridle.front(x)
    pixels = pixels.transpose(1, 2) if modality == "video" else pixels
    found = theirs(pixels).last_hidden_state[:, 0 if modality == "video" else 1 :]
    torch.testing.assert_close(found, bridle.features(x), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="ViTModel has no convolutional stem, this encoder has one of 4 filters"):
        small("image", stem=4).to_transformers()


@pytest.mark.parametrize(
    "quantizer",
    [
        VQ(8, 16),
        IVQ(60),
        LooC(8, 16, 4),
        LooC(8, 16, 4, scale=2, spatial_dims=2),
        FSQ(8, levels=[5, 5]),
        RandomProjection(8, 16, code_dim=4),
    ],
    ids=["VQ", "IVQ", "LooC", "LooC-2", "FSQ", "RandomProjection"],
)
def test_any_quantizer_makes_tokens(quantizer, tmp_path):
    bridle, x = small(quantizer=quantizer), signal("audio")
    tokens = bridle.tokens(x)
    assert tokens.shape == (2, 16, quantizer.num_codes)
    bridle.save_pretrained(tmp_path)
    assert torch.equal(Bridle.from_pretrained(tmp_path).tokens(x), tokens)


def test_the_quantizer_computes_in_float32():
    bridle, x = small(), signal("audio")
    seen = []
    bridle.quantizer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    cut = bridle.cut(x)
    bridle.tokenizer.trained.fill_(True)
    with torch.autocast("cpu", torch.bfloat16):
        bridle.tokenizer.quantize(bridle.tokenizer.latents(cut.values, cut.grid))
    assert seen == [torch.float32]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("modality", ["audio", "image", "video"])
@pytest.mark.parametrize("trained", [False, True])
def test_other_dtypes(modality, trained, dtype):
    """In the model's dtype, whatever the signal's: front ends compute in float32."""
    bridle, x = small(modality), signal(modality)
    bridle.tokenizer.trained.fill_(trained)
    lengths = torch.tensor([x.shape[-1], 9000]) if modality == "audio" else None
    wanted, codes = bridle.features(x, lengths), bridle.tokens(x, lengths)
    bridle.to(dtype)
    for given in (x, x.to(dtype)):
        found = bridle.features(given, lengths)
        assert found.dtype == bridle.pooled(given, lengths).dtype == dtype
        near = 0.2 if dtype == torch.bfloat16 else 0.05
        torch.testing.assert_close(found.float(), wanted, atol=near, rtol=near)
        assert (bridle.tokens(given, lengths) == codes).double().mean() > 0.8
    cut = bridle.cut(x.to(dtype))
    mask = bridle.mask(cut, 0.5)
    seen = bridle.encoder(cut.values, mask.kept)
    assert bridle.predictor(seen, mask, cut.grid).dtype == dtype
    assert bridle.estimator(torch.zeros(2, cut.values.shape[1], 8, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_silence_is_found_in_every_dtype(dtype):
    bridle, x = small(statistics=(-5.0, 3.0)).to(dtype), signal("audio")  # whose silence bfloat16 rounds up
    x[1] = 0
    assert bridle.silent(bridle.cut(x)).float().mean(1).tolist() == [0, 1]


def test_positions_of_the_grid_and_the_published_ones():
    table = position_table((4, 3), 8)
    places = [(row, column) for row in range(4) for column in range(3)]
    for own, (row, column) in zip(table, places, strict=True):
        expected = [column, column / 100, column, column / 100, row, row / 100, row, row / 100]
        waves = torch.tensor(expected)
        expected = torch.where(torch.tensor([1, 1, 0, 0, 1, 1, 0, 0]).bool(), waves.sin(), waves.cos())
        torch.testing.assert_close(own, expected)
    transposed = position_table((4, 3), 8, "transposed")
    # token 1 is at time 0, band 1; the published table gives it the position of time 1, band 0
    torch.testing.assert_close(transposed[1], table[3])
    assert not torch.equal(small(positions="transposed").encoder.positions.value, small().encoder.positions.value)


def test_both_readings_of_the_normalisation():
    torch.manual_seed(0)
    z = 15 * F.normalize(torch.randn(1, 400, 8), dim=-1)
    rvq = RVQ(8, 16, 4, revive="none")
    once, each = Normalised(rvq).eval(), each_stage_normalised(RVQ(8, 16, 4, revive="none")).eval()
    for quantizer in (once, each):
        quantizer.fit(z)
    unit = F.normalize(z, dim=-1)
    true = float((unit - once.decode(once.encode(z))).norm() / unit.norm())
    published = float((z - each.decode(each.encode(z))).norm() / z.norm())
    assert true < 0.3
    assert published > 0.7  # four codes of length 1 take little from a vector of length 15
    out = each(z)
    assert torch.equal(out.z_q, each.decode(each.encode(z)))
    assert isinstance(small(normalise="each-stage").quantizer, Residual)
    assert isinstance(small(normalise="none").quantizer, RVQ)
    with pytest.raises(ValueError, match="normalise='each-stage' is for VQ and RVQ, got FSQ"):
        small(normalise="each-stage", quantizer=FSQ(8, levels=[5, 5]))


def test_cold_start_sees_patches_alone_or_places_too():
    x = torch.zeros(1, 1, 10480)  # silence: every patch is the same
    assert len(small().tokens(x)[0].unique(dim=0)) == 1
    assert len(small(cold_positions=True).tokens(x)[0].unique(dim=0)) > 1


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="size must be multiples of patch, got \\(64, 16\\) and \\(9, 8\\)"):
        small(patch=(9, 8))
    with pytest.raises(ValueError, match="audio has 2 sizes and as many of a patch"):
        small(size=(64,))
    with pytest.raises(ValueError, match="channels must be 1 for sound, 1 or 3 for images and video, got 2"):
        small(channels=2)
    with pytest.raises(ValueError, match="windows of \\(3, 3\\) tokens do not fill a grid of \\(8, 2\\)"):
        small(windows=(3, 3))
    with pytest.raises(ValueError, match="no preset 'audio-huge'; there is audio-tiny, "):
        Bridle.preset("audio-huge")
    with pytest.raises(ValueError, match="width must be a multiple of 4 and of its 3 heads, got 16"):
        Stack(16, 1, 3)
    with pytest.raises(ValueError, match="a clip of 0.050 s is shorter than a patch, 0.095 s"):
        small().features(torch.randn(1, 800))
    with pytest.raises(ValueError, match="image must be floating in 0 … 1 and of shape"):
        small("image").features(torch.rand(1, 3, 16, 20))
    with pytest.raises(ValueError, match="sound must be floating and of shape"):
        small().features(torch.zeros(2, 16000, dtype=torch.int16))
    with pytest.raises(ValueError, match="lengths are for sound, got them with image"):
        small("image").features(signal("image"), torch.tensor([1, 2]))
