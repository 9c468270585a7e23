"""Differences between comparisons of sounds, images and videos: how data and examples are read, and what a rate is.

Everything else about a report is the same for all and uses these records instead of testing for a modality.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vqkit.modality import IMAGE as IMAGE_
from vqkit.modality import SOUND
from vqkit.modality import VIDEO as VIDEO_
from vqkit.report.clips import AudioData, Clip, parse_audio_data, parse_clip
from vqkit.report.films import VideoData, parse_film, parse_video_data
from vqkit.report.node import Node
from vqkit.report.pictures import ImageData, Picture, parse_image_data, parse_picture

__all__ = ["AUDIO", "IMAGE", "VIDEO", "Modality", "RateField", "modality_named", "parse_modality"]


@dataclass(frozen=True)
class RateField:
    """A rate of a system.

    Attributes:
        key: the field in ``results.json``.
        title: the header of its column, without unit.
        unit: the unit; may be empty.
        description: one line about the column.
        kind: ``nominal`` is a number that does not depend on the seed, ``measured`` a measure taken on what was written, ``bound`` a
            measure that may be null.
    """

    key: str
    title: str
    unit: str
    description: str
    kind: Literal["nominal", "measured", "bound"]


@dataclass(frozen=True)
class Modality:
    """Particulars of the reports on sounds, on images or on videos.

    Attributes:
        name: the value of ``modality`` in ``results.json``.
        examples_key: the field with the examples.
        parse_data: reads ``data``.
        parse_example: reads one example.
        rates: rates of a system, in the order of the columns; one of them is ``measured``.
        rate_axis: label of the axis that shows the measured rate.
        rate_note: one sentence on the measured rate, for readers of the tables.
        segments: whether sub-vectors are shown as the segments of their stage; otherwise they are numbered through.
    """

    name: str
    examples_key: str
    parse_data: Callable[[Node], AudioData | ImageData | VideoData]
    parse_example: Callable[[Node], Clip | Picture]
    rates: tuple[RateField, ...]
    rate_axis: str
    rate_note: str
    segments: bool

    @property
    def rate(self) -> RateField:
        """The measured rate."""
        return next(field for field in self.rates if field.kind == "measured")


AUDIO = Modality(
    name=SOUND.name,
    examples_key="clips",
    parse_data=parse_audio_data,
    parse_example=parse_clip,
    rates=(
        RateField("kbps", "rate", "kbps", "measured on the written files", "measured"),
        RateField("entropy_kbps", "entropy rate", "kbps", "rate that the entropy of the codes allows", "bound"),
    ),
    rate_axis="measured rate (kbps)",
    rate_note="The rate in kbps is what the written files take.",
    segments=False,
)

IMAGE = Modality(
    name=IMAGE_.name,
    examples_key="images",
    parse_data=parse_image_data,
    parse_example=parse_picture,
    rates=(
        RateField("bits_per_image", "bits per image", "", "bits that an image takes at fixed length", "nominal"),
        RateField("bpp", "rate", "bpp", "bits a pixel, measured on the written bytes", "measured"),
        RateField("entropy_bpp", "entropy rate", "bpp", "bits a pixel that the entropy of the codes allows", "bound"),
    ),
    rate_axis="measured rate (bits per pixel)",
    rate_note="The rate in bpp, bits a pixel, is what the written bytes take; bits per image are those of the codes at fixed length.",
    segments=True,
)


VIDEO = Modality(
    name=VIDEO_.name,
    examples_key="videos",
    parse_data=parse_video_data,
    parse_example=parse_film,
    rates=(
        RateField("bits_per_clip", "bits per clip", "", "bits that a clip takes at fixed length", "nominal"),
        RateField("bpp", "rate", "bpp", "bits a pixel of a frame, measured on the written bytes", "measured"),
        RateField("entropy_bpp", "entropy rate", "bpp", "bits a pixel that the entropy of the codes allows", "bound"),
    ),
    rate_axis="measured rate (bits per pixel)",
    rate_note="The rate in bpp, bits a pixel of every frame, is what the written bytes take; bits per clip are those of the codes at fixed "
    "length.",
    segments=True,
)


def parse_modality(root: Node) -> Modality:
    """Read ``modality`` of a whole results document; sounds if it is absent.

    Raises:
        ValueError: it is none of ``"audio"``, ``"image"`` and ``"video"``.

    Example:
        >>> parse_modality(Node({"modality": "image"})).rate.unit
        'bpp'
    """
    node = root.optional("modality")
    if node is None:
        return AUDIO
    for modality in (AUDIO, IMAGE, VIDEO):
        if node.value == modality.name:
            return modality
    raise node.error('"audio", "image" or "video"')


def modality_named(name: str) -> Modality:
    """Return a modality.

    Args:
        name: ``"audio"``, ``"image"`` or ``"video"``.

    Raises:
        ValueError: it is none of them.

    Example:
        >>> modality_named("audio").rate.unit
        'kbps'
    """
    return parse_modality(Node({"modality": name}, source="comparison"))
