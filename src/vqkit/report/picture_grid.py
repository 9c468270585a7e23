"""The part of the page to look at: every test image with its reconstructions and their error maps, which need no other file."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vqkit.data.video.writer import video_bytes
from vqkit.report.error_map import GAIN, absolute_error, error_map_png, read_picture
from vqkit.report.listening import data_uri
from vqkit.report.pictures import Picture
from vqkit.report.rates import rate_groups
from vqkit.report.results import Results
from vqkit.report.systems import System
from vqkit.types import Float, Int

__all__ = ["PictureGrid", "PictureRow", "Reconstruction", "picture_grid"]

SMALL_PIXELS = 128
WIDEST_PIXELS = 256


@dataclass(frozen=True)
class Reconstruction:
    """Cell of the grid: reconstruction and error map in data URIs, the largest error as a share of full scale, and for a clip a film."""

    uri: str
    error_uri: str
    largest_error: float
    film_uri: str = ""


@dataclass(frozen=True)
class PictureRow:
    """A test image.

    Attributes:
        picture: the test image, with its name and size.
        uri: the original, in a data URI.
        width: width at which it is shown, in CSS pixels; a whole multiple of that of a small image.
        height: height at which it is shown, in CSS pixels.
        enlarged: whether its pixels are to be seen as squares.
        cells: a reconstruction per system, None where there is none.
        film_uri: the original as a film, in a data URI; empty of an image.
    """

    picture: Picture
    uri: str
    width: int
    height: int
    enlarged: bool
    cells: tuple[Reconstruction | None, ...]
    film_uri: str = ""


@dataclass(frozen=True)
class PictureGrid:
    """Grid of all reconstructions; ``groups``: headings with the number of their systems, ``details``: lines under each system's name."""

    groups: tuple[tuple[str, int], ...]
    systems: tuple[System, ...]
    details: tuple[tuple[str, ...], ...]
    rows: tuple[PictureRow, ...]
    gain: int
    scale_uri: str
    largest_error: float


def picture_grid(results: Results, folder: Path | str) -> PictureGrid:
    """Return all test images with everything embedded.

    Args:
        results: the comparison.
        folder: where its images are.

    Returns:
        The grid; systems without any reconstruction are left out.

    Raises:
        FileNotFoundError: an image file is missing.
        ValueError: an image file is not readable, or not of the size that its original has in ``results.json``.
    """
    pictures = [example for example in results.examples if isinstance(example, Picture)]
    shown = [
        system for system in results.systems if any(picture.name in system.reconstructions for picture in pictures)
    ]
    groups = rate_groups(shown)
    systems = tuple(system for group in groups for system in group.members)
    rows = tuple(_row(picture, systems, Path(folder)) for picture in pictures)
    return PictureGrid(
        groups=tuple((group.heading, len(group.members)) for group in groups),
        systems=systems,
        details=tuple(_details(system, results) for system in systems),
        rows=rows,
        gain=GAIN,
        scale_uri=data_uri(error_map_png(np.linspace(0, 1 / GAIN, 256)[None]), "image/png"),
        largest_error=max((cell.largest_error for row in rows for cell in row.cells if cell), default=0.0),
    )


def _details(system: System, results: Results) -> tuple[str, ...]:
    bits = [
        f"{system.rates[field.key].mean:,.6g} {field.title.replace(' per ', '/')}"
        for field in results.modality.rates
        if field.kind == "nominal"
    ]
    protocol, measure = results.protocols.get("psnr"), system.metrics.get("psnr")
    if protocol is None or measure is None or np.isnan(measure.mean):
        return tuple(bits)
    return (*bits, f"{protocol.name} {measure.mean:.1f} {protocol.unit}".strip())


def _row(picture: Picture, systems: tuple[System, ...], folder: Path) -> PictureRow:
    original = _pixels(picture, folder / picture.original)
    cells = []
    for system in systems:
        path = system.reconstructions.get(picture.name)
        cells.append(None if path is None else _reconstruction(original, picture, folder / path))
    longest, widest = max(picture.width, picture.height), WIDEST_PIXELS * (2 if picture.frames > 1 else 1)
    enlarged = longest < SMALL_PIXELS
    times = SMALL_PIXELS // longest if enlarged else min(1.0, widest / longest)
    width, height = (max(1, round(times * side)) for side in (picture.width, picture.height))
    return PictureRow(picture, _png_uri(original), width, height, enlarged, tuple(cells), _film_uri(picture, original))


def _reconstruction(original: Int[np.ndarray, "height width channels"], picture: Picture, path: Path) -> Reconstruction:
    pixels = _pixels(picture, path)
    error: Float[np.ndarray, "height width"] = absolute_error(original, pixels)
    error_uri = data_uri(error_map_png(error), "image/png")
    return Reconstruction(_png_uri(pixels), error_uri, float(error.max()), _film_uri(picture, pixels))


def _film_uri(picture: Picture, pixels: Int[np.ndarray, "height width channels"]) -> str:
    """Encode the frames of a clip one after the other as a film, in a data URI; "" for an image."""
    if picture.frames == 1:
        return ""
    frames = torch.from_numpy(pixels.astype(np.float32) / 255).unflatten(1, (picture.frames, -1))
    film = video_bytes(frames.permute(3, 1, 0, 2), picture.frame_rate, least_side=SMALL_PIXELS)
    return data_uri(film, "video/mp4")


def _pixels(picture: Picture, path: Path) -> Int[np.ndarray, "height width channels"]:
    pixels = read_picture(path)
    height, width = pixels.shape[:2]
    if (width, height) != (picture.width, picture.height):
        raise ValueError(
            f"{path} is {width} pixels wide and {height} high, must be {picture.width} and {picture.height} "
            f"as results.json says of {picture.name}"
        )
    return pixels


def _png_uri(pixels: Int[np.ndarray, "height width channels"]) -> str:
    """Encode a picture anew as PNG, in a data URI: metadata of the file, such as place and camera, do not belong into a report."""
    file, values = BytesIO(), pixels.astype(np.uint8)
    Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values).save(file, format="PNG", optimize=True)
    return data_uri(file.getvalue(), "image/png")
