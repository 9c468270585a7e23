"""Where the sound that shipped weights were trained on comes from, as a table of a model card."""

from collections import defaultdict
from collections.abc import Iterable

from vqkit.data import Clip

__all__ = ["sources_table"]


def sources_table(clips: Iterable[Clip]) -> str:
    """One row a package: its files, licences and attributions, from the manifest's columns."""
    licences, names, files = defaultdict(set), defaultdict(set), defaultdict(int)
    for clip in clips:
        package = clip.labels["source_package"]
        licences[package].add(clip.labels["licence"])
        names[package].add(clip.labels["attribution"])
        files[package] += 1
    rows = ["| package | files | licence | attribution |", "|---|---|---|---|"]
    for package in sorted(files):
        cells = (str(files[package]), "; ".join(sorted(licences[package])), "; ".join(sorted(names[package])))
        rows.append(f"| {package} | {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(rows)
