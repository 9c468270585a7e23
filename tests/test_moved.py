"""Modules and classes are found under the names that configs and programs of before know them by."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

import vqkit.models
from vqkit.moved import keep_old_names

OLD = {
    "codec": "AudioCodec",
    "dac": "DacCodec",
    "spectral_codec": "SpectralCodec",
    "waveform_codec": "WaveformCodec",
    "frames": "FrameCodec",
    "image_tokenizer": "ImageTokenizer",
    "conv_backbone": "ConvBackbone",
    "vqgan_backbone": "VQGANBackbone",
    "vit_backbone": "ViTBackbone",
    "transform_backbone": "TransformBackbone",
    "streaming": "CodecStream",
}


@pytest.mark.parametrize(("module", "name"), OLD.items())
def test_an_old_name_is_the_class_itself(module, name):
    """In a process of its own, where nothing else has imported the module."""
    code = f"""
import vqkit.models.{module} as old
import vqkit.models
assert old.{name} is vqkit.models.{name}
assert old.__name__ == old.__spec__.name == old.{name}.__module__
"""
    if module in ("codec", "image_tokenizer"):  # one process suffices to show that the order of imports does not matter
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    assert getattr(import_module(f"vqkit.models.{module}"), name) is getattr(vqkit.models, name)


def test_a_recipe_may_name_the_old_module():
    from jsonargparse import ArgumentParser

    parser = ArgumentParser()
    parser.add_argument("--codec", type=vqkit.models.WaveformCodec)
    quantizer = {"class_path": "vqkit.RVQ", "init_args": {"dim": 4, "codebook_size": 4, "num_quantizers": 1}}
    named = {"class_path": "vqkit.models.spectral_codec.SpectralCodec", "init_args": {"quantizer": quantizer}}
    built = parser.instantiate_classes(parser.parse_args([f"--codec={json.dumps(named)}"])).codec
    assert type(built) is vqkit.models.SpectralCodec


def test_other_names_are_not_found():
    with pytest.raises(ModuleNotFoundError):
        import_module("vqkit.models.never_there")
    keep_old_names("vqkit.models", {"gone": "never_there"})
    with pytest.raises(ModuleNotFoundError, match="never_there"):
        import_module("vqkit.models.gone")
