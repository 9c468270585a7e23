"""A saved codec of whatever kind."""

from importlib import import_module
from pathlib import Path
from typing import Any

from vqkit.modality import IMAGE, SOUND, VIDEO, Modality
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.models.tokenizer import Tokenizer
from vqkit.saved import CONFIG, one_line, read_config
from vqkit.types import need

__all__ = ["SHIPPED", "load_codec", "load_tokenizer", "saved_class", "saved_modality", "shipped_folder"]

SHIPPED = Path(__file__).with_name("weights") / "vqkit-codec-16khz"
"""The codec that ships with vqkit; ``MODEL_CARD.md`` in it says what it is, and what it was trained on."""

_MODULES = {
    "AudioCodec": "vqkit.models.audio.codec",
    "DacCodec": "vqkit.models.audio.dac",
    "SpectralCodec": "vqkit.models.audio.spectral_codec",
}  # only the module of the kind at hand is imported: transformers, which two of them need, takes seconds


_OF_IMAGES = ("ImageTokenizer",)
_OF_VIDEO = ("VideoTokenizer",)


def load_codec(name: str | Path | None = None, **options: Any) -> WaveformCodec:
    """Read a codec that ``save_pretrained`` wrote, of the kind that its config names.

    Args:
        name: a folder, the name of a model that ships (see `shipped_folder`), or that of a repository on the hub; by default
            ``"vqkit-codec-16khz"``.
        options: options of ``from_pretrained``.

    Returns:
        The codec in evaluation mode, with its prior if it has one.

    Raises:
        ValueError: not a saved codec, or of a kind that is not imported.
    """
    folder = WaveformCodec.saved_folder(SHIPPED if name is None else shipped_folder(name) or name, **options)
    kind = _named(read_config(folder / CONFIG))
    if kind in _MODULES:
        import_module(_MODULES[kind])
    known = {cls.__name__: cls for cls in _family(WaveformCodec)}
    if kind not in known:
        codecs = ", ".join(sorted({*known, *_MODULES}))
        raise ValueError(f"{folder} holds a {one_line(kind, 60)}; codecs known here: {codecs}")
    return known[kind].from_folder(folder)


def load_tokenizer(name: str | Path) -> Tokenizer:
    """Read a saved model that has codes, a codec or a tokenizer of images or video, of the kind that its config names.

    Args:
        name: a folder of ``save_pretrained``, or the name of a model that ships (see `shipped_folder`).

    Returns:
        The model in evaluation mode, with its prior if it has one.

    Raises:
        ImportError: a package is missing that its files need.
        ValueError: no such folder, not a saved model, or of a kind that is not imported.
    """
    folder = Path(shipped_folder(name) or name)
    if not folder.is_dir():
        raise ValueError(f"no such folder: {name}; a model is a folder that save_pretrained wrote")
    if saved_modality(folder) is IMAGE:
        need("PIL", "image")
        found: Tokenizer = import_module("vqkit.models.image.tokenizer").ImageTokenizer.from_pretrained(folder)
        return found
    if saved_modality(folder) is VIDEO:
        film: Tokenizer = import_module("vqkit.models.video.tokenizer").VideoTokenizer.from_pretrained(folder)
        return film
    need("soundfile", "audio")
    return load_codec(folder)


def shipped_folder(name: str | Path) -> Path | None:
    """The folder of a model that ships with vqkit, by its name; None if none has it.

    Files name the weights they were written with, so an older model stays when a better one comes: its files decode for ever.

    Example:
        >>> shipped_folder("vqkit-codec-16khz-2").name, shipped_folder("other") is None
        ('vqkit-codec-16khz-2', True)
    """
    known = {path.name: path for path in SHIPPED.parent.iterdir() if path.is_dir()}
    return known.get(str(name))


def saved_class(folder: str | Path) -> str | None:
    """Name of the class whose ``save_pretrained`` wrote a folder; None if it is no saved model."""
    try:
        return _named(read_config(Path(folder) / CONFIG))
    except (OSError, ValueError):
        return None


def saved_modality(folder: str | Path) -> Modality:
    """What a saved model has codes of; sound, where that cannot be told, so that `load_codec` says what is wrong."""
    kind = saved_class(folder)
    return IMAGE if kind in _OF_IMAGES else VIDEO if kind in _OF_VIDEO else SOUND


def _named(config: dict[str, Any]) -> str:
    return str(config.get("class", "AudioCodec"))  # early configs name none


def _family(cls: type[WaveformCodec]) -> list[type[WaveformCodec]]:
    return [found for child in cls.__subclasses__() for found in (child, *_family(child))]
