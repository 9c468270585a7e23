"""A run: plan, units that are not done yet, manifest. Killed at any moment, the same call goes on where it was.

corpus ─ plan.jsonl ─ units ─ workers ─ shards/, records ─ manifest.json, failures.jsonl
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vqkit.differences import first_difference
from vqkit.files import write_whole
from vqkit.tokenize.corpus import Corpus, Plan
from vqkit.tokenize.item import Encoder
from vqkit.tokenize.manifest import MANIFEST, write_manifest
from vqkit.tokenize.shard import FORMATS, PARQUET, code_dtype
from vqkit.tokenize.source import Unit
from vqkit.tokenize.supervisor import supervised
from vqkit.tokenize.unit_work import SHARDS, STATE, UnitWork, finished_record

__all__ = ["Progress", "Runner", "TokenizeSettings", "tokenize"]

_PLAN, _SETTINGS, _LOCK = "plan.jsonl", "settings.json", "lock"


@dataclass(frozen=True)
class TokenizeSettings:
    """Settings of a tokenization.

    Args:
        formats: ``"parquet"``, ``"webdataset"``, or both.
        items_per_shard: Number of items in a token file.
        column: Name of the column of tables; by default the first that holds sound or images.

    Raises:
        ValueError: An argument out of range.
    """

    formats: tuple[str, ...] = (PARQUET,)
    items_per_shard: int = 128
    column: str | None = None

    def __post_init__(self) -> None:
        if not self.formats or not set(self.formats) <= set(FORMATS):
            raise ValueError(f"formats must be some of {', '.join(FORMATS)}, got {list(self.formats)}")
        if self.items_per_shard < 1:
            raise ValueError(f"items_per_shard must be at least 1, got {self.items_per_shard}")


@dataclass
class Progress:
    """Progress of a run.

    Attributes:
        units: Number of units.
        done: Number of units that are done.
        items: Number of items that have codes.
        failed: Number of items without codes.
        seconds: Duration of the sound in seconds.
        resumed: Number of units that were done before this run.
        planned: Number of items of all units.
        left_out: Number of files that planning passed over, since they hold no sound, images or video; 0 in a run that was planned before.
        kinds: What the codes are of: ``"sound"``, ``"images"``, ``"video"``.
        complete: Whether the run was finished before.
        change: Where it was, and the corpus has other items now, a sentence that says so.
    """

    units: int
    done: int = 0
    items: int = 0
    failed: int = 0
    seconds: float = 0.0
    resumed: int = 0
    planned: int = 0
    left_out: int = 0
    kinds: tuple[str, ...] = ()
    complete: bool = False
    change: str = ""

    def add(self, record: dict[str, Any], resumed: bool = False) -> None:
        """Count a unit."""
        self.done += 1
        self.resumed += resumed
        self.items += record["items"]
        self.failed += len(record["failures"])
        self.seconds += record["seconds"]


class Runner(Protocol):
    """Does units somewhere: in a process pool, or on a cluster."""

    def __call__(self, units: Iterator[Unit], work: UnitWork) -> Iterable[dict[str, Any]]:
        """Records of units, in any order."""


def tokenize(
    source: str | Path,
    target: str | Path,
    encoder_of: Callable[[tuple[str, ...]], Encoder],
    settings: TokenizeSettings = TokenizeSettings(),  # frozen
    *,
    processes: int = 1,
    runner: Runner | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Make token files of a corpus, or go on with it.

    Args:
        source: What `Corpus` takes.
        target: Folder; of an unfinished run with the same settings the rest is done, of a finished one nothing.
        encoder_of: Makes the encoder, given the kinds of content in the corpus.
        settings: Settings of the run; see `TokenizeSettings`.
        processes: How many at once, of one thread each.
        runner: Another place to do units than a process pool here.
        watch: Called when all is planned, and with every unit.

    Returns:
        The totals of the manifest.

    Raises:
        FileNotFoundError: There is no such corpus.
        ValueError: It holds nothing, the target holds another run or recordings or lies inside of the corpus, or somebody else is at
            work there.
        WorkerError: Files cannot be written, or workers do not start.
    """
    target = Path(target)
    state = target / STATE
    _check_target(Path(source), target)
    with _alone(state):
        _remove_unfinished(target)
        if (state / _PLAN).is_file():
            corpus, plan = Corpus(source, settings.column), Plan.read(state / _PLAN)
        else:
            corpus = Corpus(source, settings.column)
            plan = Plan.write(corpus, state / _PLAN, settings.items_per_shard)
        encoder = encoder_of(plan.kinds)
        description = encoder.describe()
        about = {
            "models": description["models"],
            "settings": {
                **description["settings"],
                "formats": list(settings.formats),
                "items_per_shard": settings.items_per_shard,
                "column": settings.column,
            },
            "source": {"path": str(source), "items": plan.items, "kinds": list(plan.kinds)},
            "codes": code_dtype(description["largest_code"]).name,
        }
        _check_same(state / _SETTINGS, about)
        progress = Progress(
            plan.units, planned=plan.items, left_out=corpus.left_out, kinds=tuple(description["models"])
        )
        if (target / MANIFEST).is_file() and all(finished_record(target, unit["unit"]) for unit in plan):
            progress.complete = True
            now = plan.items_now(corpus, settings.items_per_shard)
            if now is not None:
                progress.change = (
                    f"{source} has other files now ({now} item{'s' * (now != 1)}, {plan.items} when this was begun), which are not "
                    "in it: choose another folder for them"
                )
        watch(progress)
        kept = {name: about[name] for name in ("models", "settings", "codes")}
        work = UnitWork(str(source), settings.column, target, encoder, settings.formats, about["codes"], kept)

        def pending() -> Iterator[Unit]:
            for unit in plan:
                record = finished_record(target, unit["unit"])
                if record is None:
                    yield unit
                else:
                    progress.add(record, resumed=True)

        run = runner or (lambda units, work: supervised(units, work, processes))
        for record in run(pending(), work):
            progress.add(record)
            watch(progress)
        _remove_unfinished(target)  # of workers that were killed, and of those that outlived a driver for a moment
        if (target / MANIFEST).is_file() and progress.resumed == plan.units:
            return dict(json.loads((target / MANIFEST).read_bytes())["totals"])
        return write_manifest(target, plan, about)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Hold the folder: the lock goes with the process, however that ends. Of a run that does not begin, nothing stays."""
    made = [folder for folder in (state, *state.parents) if not folder.exists()]
    state.mkdir(parents=True, exist_ok=True)
    lock = state / _LOCK
    with lock.open("a+b") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # not a Unix
            pass
        except OSError:
            raise ValueError(f"{state.parent} is being written by another process") from None
        if not lock.exists() or not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
            # removed in between by a process that ended as below
            raise ValueError(f"{state.parent} is being written by another process")
        try:
            yield
        except BaseException:
            if state in made and not (state / _SETTINGS).is_file():  # nothing has begun, and nothing is to be left
                with suppress(OSError):
                    (state / _PLAN).unlink(missing_ok=True)
                    lock.unlink(missing_ok=True)
                    for folder in made:
                        folder.rmdir()
            raise


def _check_target(source: Path, target: Path) -> None:
    """Refuse a folder whose token files would be taken for parts of a corpus."""
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"{target} lies inside of the corpus {source}: choose a folder outside of it for the token files"
        )
    if (target / STATE / _PLAN).is_file() or not target.is_dir():
        return
    from vqkit.data.folders import entries  # it brings torch, as planning does
    from vqkit.modality import modality_by_suffix

    suffixes = modality_by_suffix()
    for entry in entries(target):
        if not entry.is_folder and entry.path.suffix.lower() in suffixes:
            raise ValueError(f"{target} holds recordings ({entry.path.name}): choose a new folder for the token files")


def _remove_unfinished(target: Path) -> None:
    """Remove the temporary files of processes that were killed: nobody else writes here, since this process has the lock."""
    for folder in (target, target / SHARDS, target / STATE, *(target / STATE / "records").glob("*")):
        for path in folder.glob(".vqkit-*.tmp"):
            with suppress(OSError):
                path.unlink()


def _check_same(path: Path, about: dict[str, Any]) -> None:
    """Refuse to go on with a run of other settings."""
    if not path.is_file():
        write_whole(path, json.dumps(about, indent=1).encode())
        return
    before = json.loads(path.read_bytes())
    for name, value in json.loads(json.dumps(about)).items():
        change = first_difference(before.get(name), value, name)
        if change:
            raise ValueError(
                f"{path.parent.parent} holds a run with {change}; choose another folder, or remove this one to start anew"
            )
