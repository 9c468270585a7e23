"""The codec that a command was asked for."""

from pathlib import Path

from vqkit.models.loading import load_codec
from vqkit.models.waveform_codec import WaveformCodec

__all__ = ["open_codec"]


def open_codec(model: str | None = None) -> WaveformCodec:
    """A codec in evaluation mode.

    Args:
        model: folder of ``save_pretrained``; by default the codec that ships with vqkit.

    Raises:
        ValueError: there is no such folder, or it is no saved codec.
    """
    if model is not None and not Path(model).is_dir():
        raise ValueError(f"no such folder: {model}; a model is a folder that save_pretrained wrote")
    return load_codec(model)
