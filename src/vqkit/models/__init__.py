"""Models that carry a quantizer; each is imported when it is first asked for, with the packages it needs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vqkit.types import check_installed

if TYPE_CHECKING:
    from vqkit.models.bridle import Bridle
    from vqkit.models.codec import AudioCodec, CodecOutput
    from vqkit.models.conv_backbone import ConvBackbone
    from vqkit.models.dac import DacCodec
    from vqkit.models.image_tokenizer import ImageTokenizer
    from vqkit.models.loading import load_codec
    from vqkit.models.spectral_codec import SpectralCodec
    from vqkit.models.streaming import CodecStream
    from vqkit.models.transform_backbone import TransformBackbone
    from vqkit.models.vit_backbone import ViTBackbone
    from vqkit.models.vqgan_backbone import VQGANBackbone

__all__ = [
    "AudioCodec",
    "Bridle",
    "CodecOutput",
    "CodecStream",
    "ConvBackbone",
    "DacCodec",
    "ImageTokenizer",
    "SpectralCodec",
    "TransformBackbone",
    "VQGANBackbone",
    "ViTBackbone",
    "load_codec",
]

_HOMES = {
    "AudioCodec": ("vqkit.models.codec", "transformers", "audio"),
    "Bridle": ("vqkit.models.bridle", "transformers", "audio"),
    "CodecOutput": ("vqkit.models.codec", "transformers", "audio"),
    "DacCodec": ("vqkit.models.dac", "transformers", "audio"),
    "load_codec": ("vqkit.models.loading", "huggingface_hub", "audio"),
    "SpectralCodec": ("vqkit.models.spectral_codec", "huggingface_hub", "audio"),
    "ImageTokenizer": ("vqkit.models.image_tokenizer", "huggingface_hub", "image"),
    "ConvBackbone": ("vqkit.models.conv_backbone", "torch", "image"),
    "TransformBackbone": ("vqkit.models.transform_backbone", "torch", "image"),
    "ViTBackbone": ("vqkit.models.vit_backbone", "torch", "image"),
    "VQGANBackbone": ("vqkit.models.vqgan_backbone", "diffusers", "image"),
    "CodecStream": ("vqkit.models.streaming", "huggingface_hub", "audio"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, package, extra = _HOMES[name]
    check_installed(package, extra)
    return getattr(import_module(module), name)
