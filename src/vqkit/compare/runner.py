"""N quantizers × M seeds on one backbone, one data set, one budget; every run is kept, so an interrupted comparison goes on."""

import gc
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

import vqkit
from vqkit.allowance import MAX_FLOATS
from vqkit.cache import key_of, read_json, write_json
from vqkit.code_digest import code_digest, commit
from vqkit.compare.backbone import Backbone, Note, training_digest
from vqkit.compare.codebooks import usage_of
from vqkit.compare.dataset import Dataset
from vqkit.compare.expression import constructor
from vqkit.compare.summary import row
from vqkit.data import Item, fingerprint
from vqkit.quantize import Quantizer

__all__ = ["Comparison", "Dataset", "Progress", "compare"]

Progress = Callable[[str, str, dict[str, Any] | None], None]
"""Called with a system's name, a note, and its row as soon as there is one."""


@dataclass(frozen=True)
class Comparison:
    """Definition of a comparison: its systems, backbone, data and seeds.

    Args:
        systems: name of each row → expression of its quantizer, see `expression.constructor`.
        backbone: backbone that the quantizers are put into.
        data: clips, images or videos.
        seeds: seeds of the random numbers, one run each.
        title: title of the report.
        listen: clips or images whose reconstructions are kept to be heard or seen.
        threads: number of torch threads; 0 keeps torch's default. Small matrices gain nothing from more, and on a busy machine threads
            wait for each other.
        repeat_only: names of the rows that run all seeds, while the others run the first; all rows when empty.
        import_from: packages and modules that expressions may have imported, which runs their code.
        max_floats: most values that the tensors of a quantizer may hold.
    """

    systems: Mapping[str, str]
    backbone: Backbone
    data: Dataset
    seeds: tuple[int, ...] = (0, 1, 2)
    title: str = "Quantizers compared"
    listen: int = 3
    threads: int = 0
    repeat_only: tuple[str, ...] = ()
    import_from: tuple[str, ...] = ()
    max_floats: int = MAX_FLOATS

    def quantizer(self, name: str) -> Quantizer:
        """A new quantizer of a row.

        Raises:
            ValueError: as of `expression.constructor`.
        """
        make = constructor(self.systems[name], import_from=self.import_from, max_floats=self.max_floats)
        return make(self.backbone.dim)


def compare(what: Comparison, out: Path, command: str, progress: Progress = lambda *_: None) -> Path:
    """Run what is missing and write ``results.json`` with the reconstructions beside it.

    Args:
        what: the comparison.
        out: folder; finished runs in ``out/runs`` are used again.
        command: the command line, for the record.
        progress: callback that receives every step.

    Returns:
        ``out``.

    Raises:
        ValueError: an expression, a group or a seed that does not fit; before anything runs.
    """
    quantizers = _built(what)
    if what.threads:
        torch.set_num_threads(what.threads)
    train, test = (
        what.backbone.measures.items(what.data, training=True),
        what.backbone.measures.items(what.data, training=False),
    )
    shown = list({Path(item.name).stem: item for item in reversed(test)}.values())[::-1][: what.listen]  # names differ
    marks = {"train": fingerprint(train), "test": fingerprint(test), "listen": [item.name for item in shown]}
    rows: dict[str, dict[str, Any]] = {}
    runs: dict[str, list[dict[str, Any]]] = {}
    for name in what.systems:
        runs[name] = []
        for index, seed in enumerate(_seeds(what, name)):
            note = partial(_noted, progress, name, f"seed {index + 1}/{len(_seeds(what, name))}")
            runs[name].append(_run(what, name, seed, index == 0, train, test, shown, marks, out / "runs", note))
        fastest = min(_seconds(done) for done in runs.values() if done)
        rows = {n: row(n, what.systems[n], quantizers[n], done, fastest) for n, done in runs.items() if done}
        for finished, value in rows.items():
            progress(finished, "", value)
        _collect(out, what.backbone.modality.name, rows, runs)
        write_json(out / "results.json", _results(what, rows, train, test, out, command, shown))
    return out


def _noted(progress: Progress, name: str, prefix: str, text: str) -> None:
    progress(name, f"{prefix}, {text}", None)


def _built(what: Comparison) -> dict[str, Quantizer]:
    """Every quantizer once: a mistake shows before the first run."""
    if not what.systems:
        raise ValueError("systems is empty: name at least one quantizer, such as 'IVQ(dim)'")
    if not what.seeds or len(set(what.seeds)) != len(what.seeds):
        raise ValueError(f"seeds must be different, at least one, got {list(what.seeds)}")
    unknown = set(what.repeat_only) - set(what.systems)
    if unknown:
        raise ValueError(f"repeat_only names {', '.join(sorted(unknown))}; the systems are {', '.join(what.systems)}")
    built = {}
    for name in what.systems:
        try:
            built[name] = what.quantizer(name)
            usage_of(built[name])  # an alphabet too large to be counted would stop the comparison when it measures
        except ValueError as error:
            raise ValueError(f"{name} (dim = {what.backbone.dim}): {error}") from None
    return built


def _seeds(what: Comparison, name: str) -> tuple[int, ...]:
    return what.seeds if not what.repeat_only or name in what.repeat_only else what.seeds[:1]


def _run(
    what: Comparison,
    name: str,
    seed: int,
    details: bool,
    train: Sequence[Item],
    test: Sequence[Item],
    shown: Sequence[Item],
    marks: dict[str, Any],
    runs: Path,
    note: Note,
) -> dict[str, Any]:
    """Run one seed of one system: train unless a kept training is found, measure unless kept values are."""
    backbone, expression = what.backbone, what.systems[name]
    settings = {"backbone": type(backbone).__module__, **backbone.settings()}
    key = key_of(
        expression=expression, seed=seed, settings=settings, data=marks["train"], code=training_digest(backbone)
    )
    folder = runs / key
    trained = read_json(folder / "training.json")
    if trained is None:
        torch.manual_seed(seed)
        quantizer = what.quantizer(name)
        folder.mkdir(parents=True, exist_ok=True)
        training = backbone.train(quantizer, train, seed, folder, note)
        gc.collect()  # a trainer is a knot of references that holds the decoded clips
        trained = {"expression": expression, "seed": seed, "settings": settings, **asdict(training)}
        write_json(folder / "training.json", trained)
    measuring = key_of(data=marks, details=details, code=code_digest(type(backbone.measures)))
    path = folder / f"measured-{measuring}.json"
    measured = read_json(path)
    if measured is None:
        note("measuring")
        measured = backbone.measure(folder, train, test, shown, details, note)
        write_json(path, measured)
    return {**measured, "folder": folder, "training": trained}


def _seconds(runs: Sequence[dict[str, Any]]) -> float:
    return max(1e-9, sum(run["training"]["seconds"] for run in runs) / len(runs))


def _collect(out: Path, modality: str, rows: dict[str, dict[str, Any]], runs: dict[str, list[dict[str, Any]]]) -> None:
    """Copy the first seed's reconstructions beside the results, and point the rows there."""
    for number, (name, value) in enumerate(rows.items()):
        paths = {}
        for item, file in value["reconstructions"].items():
            target = out / modality / f"{number:02d}" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(runs[name][0]["folder"] / file, target)
            paths[item] = str(target.relative_to(out))
        value["reconstructions"] = paths


def _results(
    what: Comparison,
    rows: dict[str, Any],
    train: Sequence[Item],
    test: Sequence[Item],
    out: Path,
    command: str,
    shown: Sequence[Item],
) -> dict[str, Any]:
    settings = what.backbone.settings()
    return {
        "title": what.title,
        "modality": what.backbone.modality.name,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": {"vqkit": vqkit.__version__, "torch": torch.__version__},
        "backbone": {"name": type(what.backbone).__module__.rpartition(".")[2], **settings},
        "data": {
            "name": what.data.source,
            **({"test_name": what.data.test_source} if what.data.test_source else {}),
            "groups": list(what.data.groups),
            "split": what.data.split,
            **what.backbone.measures.described(train, test),
            "fingerprint": {"train": fingerprint(train), "test": fingerprint(test)},
        },
        "budget": {"seeds": list(what.seeds), "repeat_only": list(what.repeat_only)},
        "protocols": what.backbone.measures.protocols,
        **what.backbone.measures.originals(shown, out),
        "systems": list(rows.values()),
    }
