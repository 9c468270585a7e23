import copy

import pytest
import torch
from diffusers import AutoencoderTiny, VQModel

from vqkit import FSQ, RVQ, VQ, LooC
from vqkit.models import ImageTokenizer, VQGANBackbone
from vqkit.models.peers.diffusers_quantizer import quantizer_of, replace_quantizer, restore_quantizer


def vqmodel(**options):
    torch.manual_seed(0)
    settings = {
        "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        "up_block_types": ("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "latent_channels": 6,
        "vq_embed_dim": 4,
        "num_vq_embeddings": 32,
    }
    model = VQModel(**settings | options).eval()
    model.quantize.embedding.weight.data.normal_(std=0.3)  # codes as far apart as the latents
    return model


SPATIAL = {
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
    "block_out_channels": (32,),
    "norm_num_groups": 32,
    "latent_channels": 4,
    "norm_type": "spatial",
}


def pictures(*shape):
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(1)) - 1


@pytest.mark.parametrize(
    "quantizer",
    [VQ(4, 32), FSQ(4, (8, 5, 5, 5)), RVQ(4, 32, 3), LooC(4, 32, code_dim=2)],
    ids=lambda quantizer: type(quantizer).__name__,
)
def test_its_methods_and_shapes(quantizer):
    x = pictures(2, 3, 16, 24)
    before = vqmodel()
    h = before.encode(x).latents
    expected, expected_loss, (perplexity, encodings, expected_indices) = before.quantize(h)
    model = replace_quantizer(vqmodel(), quantizer)
    assert torch.equal(model.encode(x).latents, h)
    assert not quantizer.training
    quantized, loss, (*others, indices) = model.quantize(h)
    assert (quantized.shape, loss.shape, others) == (expected.shape, expected_loss.shape, [perplexity, encodings])
    codes = quantizer.encode(h.permute(0, 2, 3, 1))
    more = () if quantizer.num_codes == 1 else (quantizer.num_codes,)
    assert indices.shape == (*expected_indices.shape, *more)
    assert torch.equal(indices.flatten(), codes.flatten())
    assert torch.equal(quantized, quantizer.decode(codes).permute(0, 3, 1, 2))
    torch.testing.assert_close(loss, quantizer(h.permute(0, 2, 3, 1)).loss)
    shape = (2, 8, 12, 4)
    for form in (indices, indices.flatten(), codes, codes.flatten(1)):
        assert torch.equal(model.quantize.get_codebook_entry(form, shape), quantized)
    assert torch.equal(model.quantize.get_codebook_entry(indices, None), quantizer.decode(codes).flatten(0, 2))
    out = model(x)
    assert (out.sample.shape, out.commit_loss.shape) == (before(x).sample.shape, before(x).commit_loss.shape)
    assert torch.equal(model.decode(h).sample, out.sample)
    assert torch.equal(model(x, return_dict=False)[0], out.sample)
    assert torch.equal(model.decode(quantized, force_not_quantize=True).sample, out.sample)
    assert torch.equal(
        model.decode(h, force_not_quantize=True).sample, before.decode(h, force_not_quantize=True).sample
    )
    model.register_to_config(lookup_from_codebook=True)
    looked_up = model.decode(indices, force_not_quantize=True, shape=shape)
    assert torch.equal(looked_up.sample, out.sample)


def test_the_first_stages_and_indices_in_the_shape_of_the_image():
    model, quantizer = vqmodel(), RVQ(4, 32, 3).eval()
    model.quantize.sane_index_shape = True
    replace_quantizer(model, quantizer)
    h = model.encode(pictures(1, 3, 8, 8)).latents
    indices = model.quantize(h)[2][2]
    assert indices.shape == (1, 4, 4, 3)
    first = model.quantize.get_codebook_entry(indices[..., :1], (1, 4, 4, 4))
    assert torch.equal(first, quantizer.decode(indices, stages=1).permute(0, 3, 1, 2))


def test_a_decoder_that_sees_the_latent():
    model = replace_quantizer(vqmodel(**SPATIAL), FSQ(4, (8, 5, 5, 5)))
    x = pictures(1, 3, 8, 8)
    assert torch.equal(model(x).sample, model.decode(model.encode(x).latents).sample)


def test_back_again_to_the_bit():
    model, x = vqmodel(), pictures(1, 3, 16, 16)
    own, before, names, config = model.quantize, model(x), list(model.state_dict()), dict(model.config)
    weights = {id(value) for value in own.parameters()}
    replace_quantizer(replace_quantizer(model, VQ(4, 16)), RVQ(4, 20, 2))
    assert model.config.num_vq_embeddings == 20
    assert not weights & {id(value) for value in model.parameters()}
    assert not torch.equal(model(x).sample, before.sample)
    copied = copy.deepcopy(model)
    assert restore_quantizer(model) is model
    assert model.quantize is own
    assert list(model.state_dict()) == names
    for back in (model, restore_quantizer(model), restore_quantizer(copied)):
        assert dict(back.config) == config
        after = back(x)
        assert torch.equal(after.sample, before.sample)
        assert torch.equal(after.commit_loss, before.commit_loss)


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_it_learns(update):
    quantizer = VQ(4, 16, update=update)
    model = replace_quantizer(vqmodel().train(), quantizer)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x = pictures(2, 3, 16, 16)
    parts = {"encoder": model.encoder.conv_in.weight, "codebook": quantizer.codebook.weight}
    before = {name: value.detach().clone() for name, value in parts.items()}
    out = model(x)
    ((out.sample - x).square().mean() + out.commit_loss).backward()
    optimizer.step()
    assert all(not torch.equal(before[name], value) for name, value in parts.items())
    restore_quantizer(model)
    assert model.quantize.training


def test_half_precision_keeps_the_codebook():
    quantizer = RVQ(4, 16, 2)
    model = replace_quantizer(vqmodel().to(torch.bfloat16), quantizer)
    assert quantizer.dtype == torch.float32
    h = model.encode(pictures(1, 3, 8, 8).to(torch.bfloat16)).latents
    quantized, _, (_, _, indices) = model.quantize(h)
    again = model.quantize.get_codebook_entry(indices, (1, 4, 4, 4))
    assert quantized.dtype == again.dtype == torch.bfloat16
    assert torch.equal(quantized, again)
    assert model.decode(h).sample.dtype == torch.bfloat16
    model.float()
    assert model.quantize.get_codebook_entry(indices, None).dtype == torch.float32
    assert restore_quantizer(model).quantize.embedding.weight.dtype == torch.float32


def test_others_are_refused():
    model = vqmodel()
    with pytest.raises(ValueError, match="the latents of this model have dim 4, the quantizer has 6"):
        replace_quantizer(model, VQ(6, 16))
    other = AutoencoderTiny(encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
                            num_decoder_blocks=(1, 1))  # fmt: skip
    for refuse in (lambda: replace_quantizer(other, VQ(4, 16)), lambda: restore_quantizer(other),
                   lambda: quantizer_of(other), lambda: ImageTokenizer.from_diffusers(other)):  # fmt: skip
        with pytest.raises(TypeError, match="model must be a diffusers VQModel, got AutoencoderTiny"):
            refuse()
    replace_quantizer(model, VQ(4, 16))
    for shape in ((2, 4, 4, 4), (1, 4, 4, 3), (16, 4)):
        with pytest.raises(ValueError, match=r"shape must be \(batch, height, width, 4\) of the 17 indices, got"):
            model.quantize.get_codebook_entry(torch.zeros(17, dtype=torch.long), shape)
    with pytest.raises(ValueError, match="code 16 at position 0 is out of range"):
        model.quantize.get_codebook_entry(torch.full((16,), 16), (1, 4, 4, 4))
    model.quantize = torch.nn.Identity()
    with pytest.raises(TypeError, match="must be a VectorQuantizer of diffusers or ours, got Identity"):
        quantizer_of(model)


SETTINGS = [
    {},
    {"act_fn": "gelu", "layers_per_block": 2, "in_channels": 1, "out_channels": 1},
    {"mid_block_add_attention": False, "vq_embed_dim": None},
    {"block_out_channels": (8,), "down_block_types": ("DownEncoderBlock2D",), "up_block_types": ("UpDecoderBlock2D",)},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_as_a_tokenizer_of_ours(tmp_path, settings):
    model = vqmodel(**settings)
    x = pictures(2, model.config.in_channels, 16, 24)
    expected = model(x)
    tokenizer = ImageTokenizer.from_diffusers(model)
    assert not tokenizer.training
    assert tokenizer.initialized
    with torch.no_grad():
        out = tokenizer((x + 1) / 2)
    torch.testing.assert_close(2 * out.images - 1, expected.sample, atol=1e-5, rtol=0)
    torch.testing.assert_close(out.quantized.loss, expected.commit_loss)
    indices = model.quantize(model.encode(x).latents)[2][2]
    codes = tokenizer.encode((x + 1) / 2)
    assert torch.equal(codes.flatten(), indices)
    torch.testing.assert_close(tokenizer.decode(codes), ((expected.sample + 1) / 2).clamp(0, 1), atol=1e-5, rtol=0)
    tokenizer.save_pretrained(tmp_path)
    loaded = ImageTokenizer.from_pretrained(tmp_path)
    assert torch.equal(loaded((x + 1) / 2).images, out.images)
    copied = copy.deepcopy(tokenizer).train()
    copied((x + 1) / 2)  # its codebook learns by gradient, as the model's own does: a batch alone changes nothing
    assert torch.equal(copied.quantizer.codebook.weight, model.quantize.embedding.weight)
    with torch.no_grad():
        model.encoder.conv_in.weight.zero_()
    assert torch.equal(tokenizer((x + 1) / 2).images, out.images)  # a copy


def test_a_tokenizer_with_another_quantizer():
    model, x = vqmodel(), pictures(1, 3, 16, 16)
    quantizer = RVQ(4, 16, 2)
    assert ImageTokenizer.from_diffusers(model, quantizer).quantizer is quantizer
    replace_quantizer(model, quantizer)
    tokenizer = ImageTokenizer.from_diffusers(model)
    assert tokenizer.quantizer is not quantizer
    torch.testing.assert_close(2 * tokenizer((x + 1) / 2).images - 1, model(x).sample, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="the backbone's latents have dim 4, the quantizer has 5"):
        ImageTokenizer.from_diffusers(model, VQ(5, 16))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SPATIAL, "norm_type 'spatial', allowed: group"),
        ({"out_channels": 4}, "out_channels 4, allowed: as many as in_channels"),
        ({"in_channels": 4, "out_channels": 4}, "in_channels 4, allowed: 1 or 3"),
        ({"up_block_types": ("UpDecoderBlock2D",) * 2}, r"up_block_types \(.*\), allowed: those that mirror"),
        (
            {"down_block_types": ("DownBlock2D", "DownEncoderBlock2D")},
            r"down_block_types \(.*\), allowed: DownEncoderBlock2D or AttnDownEncoderBlock2D",
        ),
    ],
)
def test_what_the_backbone_has_no_argument_for(settings, message):
    with pytest.raises(ValueError, match=f"a VQGANBackbone cannot hold a model with {message}"):
        VQGANBackbone.from_diffusers(vqmodel(**settings))


def test_the_backbone_s_arguments():
    for arguments, message in (
        ({"attention_scales": (2,)}, r"attention_scales must be within 0 … 1, got \[2\]"),
        ({"activation": "tanh"}, "activation is 'tanh', allowed are silu, swish, mish, gelu, relu"),
    ):
        with pytest.raises(ValueError, match=message):
            VQGANBackbone(dim=4, widths=(8, 16), norm_groups=4, **arguments)
