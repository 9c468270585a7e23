"""The part of the page that shows a codec at rates: tables, curves, players; everything in it needs no other file."""

from dataclasses import dataclass
from pathlib import Path

from vqkit.files import write_whole
from vqkit.report.clips import Clip
from vqkit.report.figures import png_bytes
from vqkit.report.listening import ListeningClip, Player, data_uri, player, spectrogram_peak
from vqkit.report.palette import Look, system_looks
from vqkit.report.rate_cells import RateColumn, rate_cells, rate_columns
from vqkit.report.rate_curves import ORIGINAL, rate_curves_figure
from vqkit.report.rate_markdown import merged_protocols
from vqkit.report.rate_results import CodedSound, RateResults
from vqkit.report.rate_rows import RateRow
from vqkit.report.rate_summary import HOW_TO_READ_RATES, bytes_text, codec_text, sounds_text
from vqkit.report.results import Protocol
from vqkit.report.table import Cell

__all__ = ["CodecSection", "KindTable", "codec_section", "write_rate_figures"]


@dataclass(frozen=True)
class KindTable:
    """The table of a kind of sound: rows with the size of their files and their cells; its figure in a data URI, or empty."""

    kind: str
    sounds: str
    columns: list[RateColumn]
    rows: list[tuple[RateRow, int, list[Cell]]]
    figure_uri: str


@dataclass(frozen=True)
class CodecSection:
    """Content of the codec section of a report, for its template."""

    results: RateResults
    summary: str
    how_to_read: tuple[str, ...]
    tables: list[KindTable]
    listening: list[ListeningClip]
    looks: dict[str, Look]
    protocols: list[Protocol]


def write_rate_figures(results: RateResults, folder: Path) -> dict[str, Path]:
    """Draw the curves of every kind of sound into ``plots/codec-KIND.png``.

    Returns:
        The files written, by kind.
    """
    paths = {}
    for kind in results.kinds:
        figure = rate_curves_figure(results.of(kind), results.protocols[kind])
        if figure is not None:
            paths[kind] = write_whole(folder / "plots" / f"codec-{kind}.png", png_bytes(figure))
    return paths


def codec_section(results: RateResults, folder: Path, figures: dict[str, Path]) -> CodecSection:
    """Return the section with everything embedded.

    Args:
        results: results of the run.
        folder: where its audio files are.
        figures: figures from `write_rate_figures`.

    Returns:
        What the template draws.

    Raises:
        FileNotFoundError: an audio file or a ``.vqk`` file is missing.
        ValueError: an audio file is not readable.
    """
    families = dict.fromkeys(row.family for row in results.rows if row.family != ORIGINAL)
    return CodecSection(
        results=results,
        summary=codec_text(results),
        how_to_read=HOW_TO_READ_RATES,
        tables=[_table(results, kind, figures.get(kind)) for kind in results.kinds],
        listening=[_clip(sound, results, folder) for sound in results.sounds],
        looks=system_looks(families),
        protocols=list(merged_protocols(results).values()),
    )


def _table(results: RateResults, kind: str, figure: Path | None) -> KindTable:
    rows = results.of(kind)
    columns = rate_columns(rows, results.protocols[kind])
    names = {sound.name for sound in results.sounds if sound.group == kind}
    sizes = [
        sum(one.file_bytes for one in results.coded.values() if one.system == row.system and one.sound in names)
        for row in rows
    ]
    uri = data_uri(figure.read_bytes(), "image/png") if figure else ""
    cells = rate_cells(rows, columns)
    return KindTable(kind, sounds_text(results, kind), columns, list(zip(rows, sizes, cells, strict=True)), uri)


def _clip(sound: Clip, results: RateResults, folder: Path) -> ListeningClip:
    peak_db = spectrogram_peak(folder / sound.original)
    samples = round(sound.seconds * sound.sample_rate)
    detail = f"{16 * sound.sample_rate / 1000:g} kbps, {bytes_text(2 * samples)}"
    original = player(folder, sound.original, peak_db, ORIGINAL, detail, "0", is_original=True)
    groups: dict[str, list[Player]] = {}
    rows = [row for row in results.of(sound.group) if (sound.name, row.system) in results.coded]
    for number, row in enumerate(rows, start=1):
        coded = results.coded[sound.name, row.system]
        groups.setdefault(row.family, []).append(_player(coded, sound, folder, peak_db, str(number)[:1]))
    return ListeningClip(sound, original, tuple((family, tuple(players)) for family, players in groups.items()))


def _player(coded: CodedSound, sound: Clip, folder: Path, peak_db: float, key: str) -> Player:
    kbps = 8 * coded.packet_bytes / sound.seconds / 1000
    uri, name = "", ""
    if coded.vqk:
        path = folder / coded.vqk
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist, though rate_quality.json names it")
        uri, name = data_uri(path.read_bytes(), "application/octet-stream"), path.name
    detail = f"{kbps:#.3g} kbps, file {bytes_text(coded.file_bytes)}"
    return player(folder, coded.audio, peak_db, coded.system, detail, key, file_uri=uri, file_name=name)
