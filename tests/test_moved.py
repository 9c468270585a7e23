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
    if module == "codec":  # one process suffices to show that the order of imports does not matter
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    assert getattr(import_module(f"vqkit.models.{module}"), name) is getattr(vqkit.models, name)


MOVED = {
    "vqkit.data.audio_file": "vqkit.data.audio.file",
    "vqkit.data.av_reader": "vqkit.data.audio.readers.av",
    "vqkit.data.sample_limit": "vqkit.data.audio.readers.sample_check",
    "vqkit.data.containers": "vqkit.data.audio.containers",
    "vqkit.data.containers.ogg": "vqkit.data.audio.containers.ogg",
    "vqkit.data.image_tiff_tags": "vqkit.data.image.formats.tiff_tags",
    "vqkit.data.images": "vqkit.data.image.dataset",
    "vqkit.training.audio_data": "vqkit.training.data.audio",
    "vqkit.training.bridle_module": "vqkit.training.bridle.module",
    "vqkit.training.diffusion": "vqkit.training.generator.diffusion",
    "vqkit.training.run": "vqkit.training.runs.run",
    "vqkit.compare.codecs": "vqkit.evaluate.codecs",
    "vqkit.compare.codecs.opus": "vqkit.evaluate.codecs.opus",
    "vqkit.compare.rate_quality": "vqkit.evaluate.rate_quality",
    "vqkit.compare.cache": "vqkit.cache",
}


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_module_is_the_module_itself(old, new):
    assert import_module(old) is import_module(new)
    assert sys.modules[old].__name__ == new


def test_below_the_old_name_of_a_package_nothing_is_loaded_twice():
    """In a process of its own: only there can the old name of a module come first."""
    code = "import vqkit.data.containers.ogg as old, vqkit.data.audio.containers.ogg as new; assert old is new"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


@pytest.mark.parametrize(
    ("module", "name"),
    [("reconstruction", "ReconstructionModule"), ("reconstruction", "FitQuantizer"), ("generator", "GeneratorModule")],
)
def test_where_a_room_has_the_name_of_an_old_module_it_hands_on_its_classes(module, name):
    training = import_module("vqkit.training")
    assert getattr(import_module(f"vqkit.training.{module}"), name) is getattr(training, name)


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
    keep_old_names("vqkit.models", {"gone": "vqkit.models.never_there"})
    with pytest.raises(ModuleNotFoundError, match="never_there"):
        import_module("vqkit.models.gone")
