"""A page of tables, pictures, sounds and videos that needs no other file: what was generated, to look at and to listen to.

`write_gallery` writes ``gallery.json`` (all numbers, and the names of the files), ``report.md`` and ``report.html`` beside the files.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from vqkit.files import write_whole
from vqkit.report.listening import data_uri
from vqkit.report.markdown import escape

__all__ = ["Exhibit", "Gallery", "Table", "write_gallery"]

_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
}


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Args:
        title: heading.
        columns: names.
        rows: cells, as many as columns in each.
        note: how to read it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r} has {len(self.columns)} columns and a row of {len(row)}: {row[:3]}"
                )


@dataclass(frozen=True)
class Exhibit:
    """Picture, sound or video of a gallery.

    Args:
        title: title of the exhibit.
        file: path within the folder; the suffix determines the medium.
        caption: text on what to look at or listen for.
    """

    title: str
    file: str
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Page of tables and exhibits.

    Args:
        title: heading.
        summary: the result in a sentence or two.
        command: command that makes the results again, seeds included.
        tables: tables in order.
        exhibits: exhibits in order.
        facts: settings and numbers beside the tables, for ``gallery.json`` only.
    """

    title: str
    summary: str
    command: str
    tables: Sequence[Table] = ()
    exhibits: Sequence[Exhibit] = ()
    facts: dict[str, object] = field(default_factory=dict)


def write_gallery(folder: str | Path, gallery: Gallery) -> Path:
    """Write the page; files are embedded.

    Args:
        folder: where the exhibits' files are.
        gallery: what to show.

    Returns:
        The path of ``report.html``.

    Raises:
        FileNotFoundError: an exhibit's file is missing.
        ValueError: it has a suffix that a browser does not show.
    """
    folder = Path(folder)
    shown = []
    for exhibit in gallery.exhibits:
        path = folder / exhibit.file
        kind = _TYPES.get(path.suffix.lower())
        if kind is None:
            raise ValueError(f"{path}: allowed suffixes are {', '.join(_TYPES)}")
        shown.append((exhibit, kind.partition("/")[0], data_uri(path.read_bytes(), kind)))
    environment = Environment(
        loader=PackageLoader("vqkit.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("gallery.html").render(gallery=gallery, exhibits=shown)
    write_whole(folder / "gallery.json", (json.dumps(asdict(gallery), indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(folder / "report.md", _markdown(gallery).encode())
    return write_whole(folder / "report.html", page.encode())


def _markdown(gallery: Gallery) -> str:
    parts = [f"# {escape(gallery.title)}", escape(gallery.summary), f"    {gallery.command}"]
    for table in gallery.tables:
        parts.append(f"## {escape(table.title)}")
        lines = [table.columns, ("---",) * len(table.columns), *table.rows]
        parts.append("\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines))
        if table.note:
            parts.append(escape(table.note))
    for exhibit in gallery.exhibits:
        mark = "!" if _TYPES[Path(exhibit.file).suffix.lower()].startswith("image") else ""
        parts.append(
            f"## {escape(exhibit.title)}\n\n{mark}[{escape(exhibit.title)}]({exhibit.file})\n\n{escape(exhibit.caption)}"
        )
    return "\n\n".join(parts).rstrip() + "\n"
