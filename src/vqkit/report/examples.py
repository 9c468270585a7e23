"""The examples of a comparison as a section of the page: clips to listen to, or images to look at."""

from dataclasses import dataclass
from pathlib import Path

from vqkit.report.listening import ListeningClip, listening_clips
from vqkit.report.modality import AUDIO
from vqkit.report.picture_grid import PictureGrid, picture_grid
from vqkit.report.results import Results

__all__ = ["ExampleSection", "example_section"]


@dataclass(frozen=True)
class ExampleSection:
    """A section of the page.

    Attributes:
        heading: heading of the section, and its entry in the contents.
        anchor: anchor of the section.
        template: draws ``shown``.
        style: a style sheet that this template needs besides that of the page; may be empty.
        shown: content for the template.
    """

    heading: str
    anchor: str
    template: str
    style: str
    shown: list[ListeningClip] | PictureGrid


def example_section(results: Results, folder: Path | str) -> ExampleSection | None:
    """Return the section with everything embedded.

    Args:
        results: the comparison.
        folder: folder of the comparison's files.

    Returns:
        The section; None without examples.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not readable.
    """
    if not results.examples:
        return None
    if results.modality is AUDIO:
        return ExampleSection("Listen", "listen", "clips.html", "", listening_clips(results, folder))
    return ExampleSection("Look", "look", "pictures.html", "pictures.css", picture_grid(results, folder))
