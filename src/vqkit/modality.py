"""Differences between sound, images and video, in one record each, which all other code uses instead of testing for a modality.

Conventions
    *Content* is what `vqkit.data.content` detects by a file's first bytes; the suffix counts only where they say nothing. A film is a
    file of video; where a command wants sound, it is the film's sound. docs/modalities.md says what each command does with a film.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "IMAGE",
    "MODALITIES",
    "SOUND",
    "VIDEO",
    "Modality",
    "encoded_as",
    "modality_by_suffix",
    "modality_named",
    "modality_of_content",
    "modality_of_size",
]


@dataclass(frozen=True)
class Modality:
    """A kind of signal.

    Attributes:
        name: name in ``results.json`` and in names of folders.
        word: one word for it, as ``--as`` takes it.
        plural: name of the content of its files in messages: "sound", "images".
        item: name of one item of a data set in messages.
        content: result of `vqkit.data.content.content_of` for its files.
        suffixes: suffixes of files that can be read, in lower case.
        encoded_by_default: whether ``vqkit encode`` takes a file of this content as this; otherwise as ``SOUND``.
        rate_name: name of the argument and the flag that limit the rate.
        rate_unit: unit of the rate.
        model: name of a model with codes of this modality in messages.
        lost: name of what replaces lost codes.
        lost_value: value of the signal in place of lost codes.
        shown: form in which a report shows an item.
        extra: extra of the package that its files and models need.
    """

    name: str
    word: str
    plural: str
    item: str
    content: str
    suffixes: frozenset[str]
    rate_name: str
    rate_unit: str
    model: str
    lost: str
    lost_value: float
    shown: Literal["player", "picture"]
    extra: str
    encoded_by_default: bool = True

    def count(self, number: int) -> str:
        """A number of items in words.

        Example:
            >>> SOUND.count(1), IMAGE.count(3)
            ('1 clip', '3 images')
        """
        return f"{number} {self.item}{'s' * (number != 1)}"


SOUND = Modality(
    name="audio",
    word="sound",
    plural="sound",
    item="clip",
    content="sound",
    suffixes=frozenset(
        {
            *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".au", ".caf", ".w64"),
            *(".mka", ".wma"),
        }
    ),
    rate_name="kbps",
    rate_unit="kbit/s",
    model="codec",
    lost="silence",
    lost_value=0.0,
    shown="player",
    extra="audio",
)

IMAGE = Modality(
    name="image",
    word="image",
    plural="images",
    item="image",
    content="image",
    suffixes=frozenset(
        {
            *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
            *(
                ".ppm",
                ".pgm",
                ".pbm",
                ".pnm",
                ".pfm",
                ".avif",
                ".avifs",
                ".jp2",
                ".j2k",
                ".j2c",
                ".jpc",
                ".jpf",
                ".jpx",
            ),
        }
    ),
    rate_name="bpp",
    rate_unit="bits a pixel",
    model="tokenizer",
    lost="gray",
    lost_value=0.5,
    shown="picture",
    extra="image",
)

VIDEO = Modality(
    name="video",
    word="video",
    plural="video",
    item="film",
    content="film",
    suffixes=frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ogv"}),
    rate_name="kbps",
    rate_unit="kbit/s",
    model="tokenizer",
    lost="gray",
    lost_value=0.5,
    shown="player",
    extra="audio",
    encoded_by_default=False,
)

MODALITIES = (SOUND, IMAGE, VIDEO)


def modality_named(name: str) -> Modality:
    """The modality of a name in ``results.json`` and in flags.

    Raises:
        ValueError: there is none of that name.

    Example:
        >>> modality_named("image") is IMAGE
        True
    """
    for modality in MODALITIES:
        if modality.name == name:
            return modality
    known = ", ".join(repr(modality.name) for modality in MODALITIES)
    raise ValueError(f"modality must be one of {known}, got {name!r}")


def modality_of_content(content: str) -> Modality | None:
    """Return the modality of a file by its content, as `vqkit.data.content` names it; None for unknown content.

    Example:
        >>> modality_of_content("film").name, modality_of_content("")
        ('video', None)
    """
    return next((modality for modality in MODALITIES if modality.content == content), None)


def encoded_as(content: str) -> Modality | None:
    """Return the modality as which commands encode a file by default: a film as its sound; None for unknown content.

    Example:
        >>> encoded_as("film").name, encoded_as("image").name
        ('audio', 'image')
    """
    found = modality_of_content(content)
    return found if found is None or found.encoded_by_default else SOUND


def modality_by_suffix() -> dict[str, Modality]:
    """The modality of files by their suffix, in lower case.

    Example:
        >>> modality_by_suffix()[".mp4"].plural
        'video'
    """
    return {suffix: what for what in MODALITIES for suffix in what.suffixes}


def modality_of_size(sample_rate: int, size: Iterable[int]) -> Modality:
    """The modality of what the header of a ``.vqk`` file describes: images have a size in pixels and no sample rate, video has both.

    Args:
        sample_rate: sample rate in Hz, or 0.
        size: (height, width), or nothing.

    Example:
        >>> modality_of_size(16000, ()).plural, modality_of_size(0, (480, 640)).plural
        ('sound', 'images')
    """
    if not tuple(size):
        return SOUND
    return VIDEO if sample_rate else IMAGE
