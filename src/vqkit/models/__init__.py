"""Models that carry a quantizer; each is imported when it is first asked for, with the packages it needs.

tokenizer.py   the base of what has codes
audio/  image/  video/   the models of each signal, and their files
peers/         models and checkpoints of transformers and diffusers
export/        ONNX
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vqkit.moved import keep_old_names
from vqkit.types import check_installed

if TYPE_CHECKING:
    from vqkit.models.audio.codec import AudioCodec
    from vqkit.models.audio.dac import DacCodec
    from vqkit.models.audio.frames import FrameCodec
    from vqkit.models.audio.spectral_codec import SpectralCodec
    from vqkit.models.audio.streaming import CodecStream
    from vqkit.models.audio.tokenizer import AudioTokenizer
    from vqkit.models.audio.waveform_codec import CodecOutput, WaveformCodec
    from vqkit.models.bridle import Bridle
    from vqkit.models.generator.token_generator import TokenGenerator
    from vqkit.models.image.conv_backbone import ConvBackbone
    from vqkit.models.image.lapped_backbone import LappedBackbone
    from vqkit.models.image.pixel_backbone import PixelBackbone
    from vqkit.models.image.tokenizer import ImageTokenizer
    from vqkit.models.image.transform_backbone import TransformBackbone
    from vqkit.models.image.vit_backbone import ViTBackbone
    from vqkit.models.image.vqgan_backbone import VQGANBackbone
    from vqkit.models.loading import load_codec
    from vqkit.models.peers.quantized_vq_model import QuantizedVQModel
    from vqkit.models.reconstruction import Reconstruction
    from vqkit.models.tokenizer import Tokenizer
    from vqkit.models.video.tokenizer import VideoTokenizer

__all__ = [
    "AudioCodec",
    "AudioTokenizer",
    "Bridle",
    "CodecOutput",
    "CodecStream",
    "ConvBackbone",
    "DacCodec",
    "FrameCodec",
    "ImageTokenizer",
    "LappedBackbone",
    "PixelBackbone",
    "QuantizedVQModel",
    "Reconstruction",
    "SpectralCodec",
    "TokenGenerator",
    "Tokenizer",
    "TransformBackbone",
    "VQGANBackbone",
    "ViTBackbone",
    "VideoTokenizer",
    "WaveformCodec",
    "load_codec",
]

_HOMES = {
    "AudioCodec": ("vqkit.models.audio.codec", "transformers", "audio"),
    "AudioTokenizer": ("vqkit.models.audio.tokenizer", "huggingface_hub", "audio"),
    "Bridle": ("vqkit.models.bridle", "transformers", "audio"),
    "CodecOutput": ("vqkit.models.audio.waveform_codec", "huggingface_hub", "audio"),
    "CodecStream": ("vqkit.models.audio.streaming", "huggingface_hub", "audio"),
    "ConvBackbone": ("vqkit.models.image.conv_backbone", "torch", "image"),
    "DacCodec": ("vqkit.models.audio.dac", "transformers", "audio"),
    "FrameCodec": ("vqkit.models.audio.frames", "torch_mdct", "audio"),
    "ImageTokenizer": ("vqkit.models.image.tokenizer", "huggingface_hub", "image"),
    "LappedBackbone": ("vqkit.models.image.lapped_backbone", "torch", "image"),
    "PixelBackbone": ("vqkit.models.image.pixel_backbone", "torch", "image"),
    "Reconstruction": ("vqkit.models.reconstruction", "torch", "train"),
    "SpectralCodec": ("vqkit.models.audio.spectral_codec", "huggingface_hub", "audio"),
    "Tokenizer": ("vqkit.models.tokenizer", "huggingface_hub", "train"),
    "TransformBackbone": ("vqkit.models.image.transform_backbone", "torch", "image"),
    "QuantizedVQModel": ("vqkit.models.peers.quantized_vq_model", "diffusers", "image"),
    "VQGANBackbone": ("vqkit.models.image.vqgan_backbone", "diffusers", "image"),
    "VideoTokenizer": ("vqkit.models.video.tokenizer", "huggingface_hub", "image"),
    "ViTBackbone": ("vqkit.models.image.vit_backbone", "torch", "image"),
    "WaveformCodec": ("vqkit.models.audio.waveform_codec", "huggingface_hub", "audio"),
    "load_codec": ("vqkit.models.loading", "huggingface_hub", "audio"),
    "TokenGenerator": ("vqkit.models.generator.token_generator", "transformers", "image"),
}

_AUDIO = (
    "codec compression dac encodec_layers encodec_stream frames padding pieces rates resampling resampling_stream "
    "spectral_codec streaming streaming_quantizer waveform_codec"
)
_IMAGE = "conv_backbone transform_backbone vit_backbone vqgan_backbone"
_PEERS = "checkpoint diffusers_quantizer encodec_checkpoint quantizer_adapter transformers_quantizer"
keep_old_names(
    __name__,
    {
        **{name: f"vqkit.models.audio.{name}" for name in _AUDIO.split()},
        **{name: f"vqkit.models.image.{name}" for name in _IMAGE.split()},
        **{name: f"vqkit.models.peers.{name}" for name in _PEERS.split()},
        "image_backbone": "vqkit.models.image.backbone",
        "image_compression": "vqkit.models.image.compression",
        "image_tiles": "vqkit.models.image.tiles",
        "image_tokenizer": "vqkit.models.image.tokenizer",
        "onnx_layers": "vqkit.models.export.layers",
    },
)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, package, extra = _HOMES[name]
    check_installed(package, extra)
    return getattr(import_module(module), name)
