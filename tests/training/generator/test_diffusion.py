"""Latent diffusion with LooC in the place of the VQ: it learns, resumes, and diffusers loads what it saves as a standard pipeline."""

import subprocess
import sys

import pytest
import torch
from diffusers import LDMPipeline

from vqkit import LooC
from vqkit.models import ConvBackbone, ImageTokenizer, QuantizedVQModel, VQGANBackbone
from vqkit.training import ImageDataModule, Optimisation, train
from vqkit.training.generator.diffusion import DiffusionModule, LatentDiffusion


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    torch.manual_seed(0)
    made = ImageTokenizer(
        VQGANBackbone(6, widths=(8, 16), blocks=1, norm_groups=4), LooC(6, 16, 2, init="uniform")
    ).eval()
    with torch.no_grad():
        for name, value in made.quantizer.state_dict().items():
            if name.endswith("weight"):
                value.copy_(torch.randn_like(value))
    folder = tmp_path_factory.mktemp("first-stage")
    made.save_pretrained(folder)
    return folder


def module(tokenizer, kill_at=None):
    torch.manual_seed(0)
    diffusion = LatentDiffusion(str(tokenizer), 16, widths=(8, 16), norm_groups=4)

    class Module(DiffusionModule):
        def training_step(self, batch, batch_idx):
            if batch_idx == kill_at:
                raise InterruptedError
            super().training_step(batch, batch_idx)

    return Module(diffusion, optimisation=Optimisation(learning_rate=1e-3, warmup_steps=2))


def run(model, images, folder, **options):
    data = ImageDataModule(str(images), size=16, batch_size=4)
    settings = {"steps": 4, "save_every": 2, "validate_every": 2, "log_every": 1} | options
    return train(model, data, folder=str(folder), accelerator="cpu", progress=False, **settings)


def test_diffusers_loads_what_a_resumed_run_saves(tokenizer, blob_images, tmp_path):
    whole = module(tokenizer)
    run(whole, blob_images, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        run(module(tokenizer, kill_at=3), blob_images, tmp_path / "cut")
    resumed = module(tokenizer)
    saved = run(resumed, blob_images, tmp_path / "cut")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert whole.diffusion.scale != 1

    first = ImageTokenizer.from_pretrained(tokenizer)
    pipeline = LDMPipeline.from_pretrained(saved)
    assert isinstance(pipeline.vqvae, QuantizedVQModel)
    assert isinstance(pipeline.vqvae.quantize.quantizer, LooC)
    for name, value in first.quantizer.state_dict().items():
        assert torch.equal(value, pipeline.vqvae.quantize.quantizer.state_dict()[name]), name
    options = {"batch_size": 2, "num_inference_steps": 3, "output_type": "np"}
    one, other = (
        made(generator=torch.Generator().manual_seed(1), **options).images
        for made in (pipeline, whole.diffusion.pipeline())
    )
    assert one.shape == (2, 16, 16, 3)
    assert (one == other).all()


def test_the_first_stage_is_the_tokenizer(tokenizer):
    first, images = ImageTokenizer.from_pretrained(tokenizer), torch.rand(2, 3, 16, 16)
    model = QuantizedVQModel.from_tokenizer(first)
    with torch.no_grad():
        made = model(2 * images - 1).sample
    torch.testing.assert_close((made + 1) / 2, first(images).images, atol=1e-5, rtol=1e-4)


def test_only_the_unet_learns(tokenizer, blob_images, tmp_path):
    model = module(tokenizer)
    before = {name: value.clone() for name, value in model.diffusion.state_dict().items()}
    run(model, blob_images, tmp_path)
    for name, value in model.diffusion.state_dict().items():
        if name.startswith("vqvae."):
            assert torch.equal(value, before[name]), name
    assert any(not torch.equal(v, before[n]) for n, v in model.diffusion.state_dict().items() if n.startswith("unet."))


def test_a_pipeline_is_loaded_in_a_process_that_has_imported_the_class_only(tokenizer, tmp_path):
    module(tokenizer).diffusion.save_pretrained(tmp_path)
    code = (
        "from vqkit.models import QuantizedVQModel; import diffusers; "
        f"print(type(diffusers.LDMPipeline.from_pretrained({str(tmp_path)!r}).vqvae) is QuantizedVQModel)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_errors(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="size must be a multiple of 4, 2 pixels a latent and 2 levels, got 18"):
        LatentDiffusion(str(tokenizer), 18, widths=(8, 16), norm_groups=4)
    ImageTokenizer(ConvBackbone(6, width=8), LooC(6, 16, 2)).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="must have a VQGANBackbone, which is a VQModel's networks; got ConvBackbone"):
        LatentDiffusion(str(tmp_path), 16)
