"""Where the files that shipped weights were trained on come from, as a table of a model card."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

__all__ = ["sources_table"]


def sources_table(rows: Iterable[Mapping[str, str]]) -> str:
    """One row a package: its files, licences and attributions, from the manifest's columns."""
    licences, names, files = defaultdict(set), defaultdict(set), defaultdict(int)
    for row in rows:
        package = row["source_package"]
        licences[package].add(row["licence"])
        names[package].add(row["attribution"])
        files[package] += 1
    table = ["| package | files | licence | attribution |", "|---|---|---|---|"]
    for package in sorted(files):
        cells = (str(files[package]), "; ".join(sorted(licences[package])), "; ".join(sorted(names[package])))
        table.append(f"| {package} | {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(table)
