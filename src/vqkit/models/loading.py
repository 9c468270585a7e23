"""A saved codec of whatever kind."""

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from vqkit.modality import IMAGE, SOUND, VIDEO, Modality
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.classes import class_named, known_names, modality_of_class
from vqkit.models.hub import check_saved
from vqkit.models.identity import saved_hash
from vqkit.models.tokenizer import Tokenizer
from vqkit.saved import CONFIG, WEIGHTS, one_line, read_config
from vqkit.types import need

__all__ = ["SHIPPED", "load_codec", "load_tokenizer", "saved_class", "saved_modality", "shipped_folder", "shipped_with"]

SHIPPED = Path(__file__).with_name("weights") / "vqkit-codec-16khz-7"
"""The codec that ships with vqkit, the default; ``MODEL_CARD.md`` in it says what it is, and what it was trained on."""


_Model = TypeVar("_Model", bound=Tokenizer)


def load_codec(name: str | Path | None = None, **options: Any) -> AudioTokenizer:
    """Read a codec that ``save_pretrained`` wrote, of the class that its config names.

    Args:
        name: a folder, the name of a model that ships (see `shipped_folder`), or that of a repository on the hub; by default
            ``"vqkit-codec-16khz-7"``.
        options: options of ``from_pretrained``.

    Returns:
        The codec in evaluation mode, with its prior if it has one.

    Raises:
        ValueError: not a saved codec, or of a kind that is not imported.
    """
    folder = AudioTokenizer.saved_folder(SHIPPED if name is None else shipped_folder(name) or name, **options)
    return _loaded(folder, AudioTokenizer, "codecs")  # type: ignore[type-abstract]


def load_tokenizer(name: str | Path) -> Tokenizer:
    """Read a saved model that has codes, a codec or a tokenizer of images or video, of the class that its config names.

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
    check_saved(folder)
    package = {SOUND: "soundfile", IMAGE: "PIL", VIDEO: "av"}[saved_modality(folder)]
    need(package, saved_modality(folder).extra)
    return _loaded(folder, Tokenizer, "models")  # type: ignore[type-abstract]


def shipped_folder(name: str | Path) -> Path | None:
    """Return the folder of a model that ships with vqkit, by its name; None if there is none of that name.

    Files name the weights they were written with, so an older model stays when a better one comes: its files decode for ever.

    Example:
        >>> shipped_folder("vqkit-codec-16khz-2").name, shipped_folder("other") is None
        ('vqkit-codec-16khz-2', True)
    """
    known = {path.name: path for path in SHIPPED.parent.iterdir() if path.is_dir()}
    return known.get(str(name))


@cache
def shipped_with(model_hash: str) -> Path | None:
    """Return the folder of the shipped model with these weights, see `vqkit.models.identity`; None if there is none."""
    for folder in sorted(SHIPPED.parent.iterdir()):
        if (folder / WEIGHTS).is_file() and saved_hash(folder / WEIGHTS) == model_hash:
            return folder
    return None


def saved_class(folder: str | Path) -> str | None:
    """Return the name of the class whose ``save_pretrained`` wrote a folder; None if it is no saved model."""
    try:
        return _named(read_config(Path(folder) / CONFIG))
    except (OSError, ValueError):
        return None


def saved_modality(folder: str | Path) -> Modality:
    """Return the modality of a saved model; sound where it cannot be determined, so that `load_codec` says what is wrong."""
    return modality_of_class(saved_class(folder) or "") or SOUND


def _loaded(folder: Path, base: type[_Model], models: str) -> _Model:
    """Load the model in a folder, if its class is below a base.

    Args:
        folder: a folder of ``save_pretrained``.
        base: the base that the model must have.
        models: name of such models, for the message.
    """
    kind = _named(read_config(folder / CONFIG))
    found = class_named(kind, base)
    if found is None:
        raise ValueError(f"{folder} holds a {one_line(kind, 60)}; {models} known here: {', '.join(known_names(base))}")
    return found.from_folder(folder)


def _named(config: dict[str, Any]) -> str:
    return str(config.get("class", "AudioCodec"))  # early configs name none
