"""Looks of the systems: one each, the same in every plot and table, and distinguishable without colour vision.

Colours: Okabe and Ito, *Color Universal Design*, without its yellow, which is too light on white. The marker changes with every system, so
seven colours are enough for dozens of systems.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.colors import to_hex

from vqkit.terminal import printable

__all__ = ["Look", "plot_label", "stage_colours", "system_looks"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
MARKERS = {  # matplotlib's marker, and the same shape as an SVG path in a box from −6 to 6
    "o": "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z",
    "s": "M-4,-4h8v8h-8z",
    "^": "M0,-5L5,4H-5z",
    "D": "M0,-5.5L5.5,0L0,5.5L-5.5,0z",
    "v": "M0,5L5,-4H-5z",
    "P": "M-1.7,-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
    "X": "M-5,-2.6L-2.6,-5L0,-2.4L2.6,-5L5,-2.6L2.4,0L5,2.6L2.6,5L0,2.4L-2.6,5L-5,2.6L-2.4,0z",
    "<": "M-5,0L4,-5V5z",
    "p": "M0,-5.2L5,-1.5L3.1,4.4H-3.1L-5,-1.5z",
    ">": "M5,0L-4,-5V5z",
    "h": "M0,-5.3L4.6,-2.6V2.6L0,5.3L-4.6,2.6V-2.6z",
}
LINES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Look:
    """Look of a system: ``colour`` (hex), ``marker`` and ``line`` (matplotlib), ``svg_path`` (the marker, in a box −6..6)."""

    colour: str
    marker: str
    line: str
    svg_path: str


def system_looks(names: Iterable[str]) -> dict[str, Look]:
    """Return a look for each system.

    Args:
        names: the systems, in the order of the results.

    Returns:
        Looks by name; the first 77 differ in colour or marker.

    Example:
        >>> looks = system_looks(f"system {i}" for i in range(77))
        >>> len({(look.colour, look.marker) for look in looks.values()})
        77
    """
    shapes = list(MARKERS.items())
    looks = {}
    for i, name in enumerate(names):
        marker, svg_path = shapes[i % len(shapes)]
        looks[name] = Look(COLOURS[i % len(COLOURS)], marker, LINES[i // len(COLOURS) % len(LINES)], svg_path)
    return looks


def stage_colours(num_stages: int) -> list[str]:
    """Return a colour per stage, dark to light, in hex."""
    colormap = colormaps["viridis"]
    return [to_hex(colormap(0.08 + 0.8 * i / max(1, num_stages - 1))) for i in range(num_stages)]


def plot_label(name: str, longest: int = 36) -> str:
    r"""Return a name that matplotlib shows as it is: no formula between dollar signs, no hidden label, no control character.

    Args:
        name: any text.
        longest: most characters; the rest is cut.

    Returns:
        One line.

    Example:
        >>> plot_label("cost in $ or $$")
        'cost in \\$ or \\$\\$'
    """
    line = printable(" ".join(name.split()))
    line = line if len(line) <= longest else line[: longest - 1] + "…"
    return line.replace("$", r"\$").replace("_", " _", 1) if line.startswith("_") else line.replace("$", r"\$")
